"""One self-contained HTML page: a table, pictures with captions, and all that is needed to get the numbers again."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("report.html.j2")


class Picture(NamedTuple):
    """A figure of the page, as a PNG in base64, with the words that belong to it."""

    title: str
    caption: str
    alt: str
    png: str


def picture(figure: Figure, *, title: str, caption: str, alt: str) -> Picture:
    """Return a figure as a picture of the page.

    Pure: the figure is only drawn.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, facecolor="white")
    return Picture(title, caption, alt, base64.b64encode(stream.getvalue()).decode())


def render(
    *,
    title: str,
    lead: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    note: str,
    pictures: Sequence[Picture],
    details: Sequence[tuple[str, str]],
    footer: str,
) -> str:
    """Return the page; it asks for nothing from elsewhere, and every text is escaped.

    Args:
        title: heading and title.
        lead: one or two sentences below it.
        heads, rows: the table.
        note: a sentence below the table; may be empty.
        pictures: in order.
        details: (heading, preformatted text) to unfold.
        footer: last line.

    Pure: nothing is written.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        title=title, lead=lead, heads=heads, rows=rows, note=note, pictures=pictures, details=details, footer=footer
    )
