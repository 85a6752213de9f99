"""Texts, tables and figures as a notebook shows them, readable on light and on dark backgrounds."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mamlkit.show.report import picture as encode


@dataclass(frozen=True)
class View:
    """HTML or Markdown that a notebook renders; a terminal shows nothing of it."""

    text: str = field(repr=False)  # otherwise a notebook would store every figure twice
    kind: str = "text/html"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {self.kind: self.text}


def markdown(text: str) -> View:
    """Return Markdown for a notebook."""
    return View(text, "text/markdown")


def table(rows: Sequence[Mapping[str, Any]]) -> View:
    """Return rows with the same keys as a table."""
    made: str = pd.DataFrame(list(rows)).to_html(index=False, border=0)
    return View(made.replace(" ± ", "&nbsp;±&nbsp;"))


def picture(figure: Figure | None, caption: str, otherwise: str = "") -> View:
    """Return a figure with its caption, or a sentence if there is no figure."""
    if figure is None:
        return markdown(otherwise)
    png, words = encode(figure, title="", caption=caption, alt=caption).png, html.escape(caption)
    image = f'<img src="data:image/png;base64,{png}" alt="{words}">'
    return View(f"<figure>{image}<figcaption>{words}</figcaption></figure>")
