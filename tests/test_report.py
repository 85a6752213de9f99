"""The page stands alone: nothing from elsewhere, every text escaped, every picture with words."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from mamlkit.show.report import picture, render


def page(**changes: Any) -> str:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [1, 0])
    parts: dict[str, Any] = {
        "title": "Two methods",
        "lead": "What was run.",
        "heads": ("method", "accuracy"),
        "rows": [("MAML", "90 %"), ("MAML++", "95 %")],
        "note": "A note.",
        "pictures": [picture(figure, title="A line", caption="It falls.", alt="a falling line")],
        "details": [("Versions", "python = 3")],
        "footer": "the end",
    }
    return render(**{**parts, **changes})


def test_the_page_has_every_part_once() -> None:
    html = page()
    for text in ("Two methods</h1>", "What was run.", "<td>95 %</td>", "A note.", "It falls.", "python = 3", "the end"):
        assert html.count(text) == 1, text


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    html = page()
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", html) == []
    assert "http" not in html.replace("http-equiv", "")
    assert "<script" not in html
    assert "url(" not in html


def test_a_picture_is_a_real_png_with_alternative_text() -> None:
    [(data, alt)] = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]*)">', page())
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (450, 300)
    assert np.asarray(image.convert("L")).std() > 5
    assert alt == "a falling line"


def test_texts_are_escaped() -> None:
    html = page(lead="<script>alert(1)</script>", rows=[("<b>", "&")])
    assert "<script>" not in html
    assert "<td>&lt;b&gt;</td><td>&amp;</td>" in html
