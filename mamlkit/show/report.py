"""A self-contained HTML page: a table, figures with captions, and everything needed to reproduce the numbers."""

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
    """A figure of the page: a PNG in base64 with its title, caption and alternative text."""

    title: str
    caption: str
    alt: str
    png: str


def picture(figure: Figure, *, title: str, caption: str, alt: str) -> Picture:
    """Render a figure for the page."""
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
    """Return the page as HTML; it loads nothing from elsewhere, and all texts are escaped.

    Args:
        title: the heading and the title of the page.
        lead: one or two sentences below the heading.
        heads, rows: column headings and rows of the table.
        note: a sentence below the table; may be empty.
        pictures: in the order of the page.
        details: (heading, preformatted text) of each section that the reader can unfold.
        footer: the last line.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        title=title, lead=lead, heads=heads, rows=rows, note=note, pictures=pictures, details=details, footer=footer
    )
