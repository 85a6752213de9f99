"""DrawingPad: a drawing reaches the callback as pixels, the answer goes back, and without a kernel a pad is shown."""

from __future__ import annotations

import base64
import html
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mamlkit.errors import InputError
from mamlkit.widgets import DrawingPad

N, SIDE = 3, 8
SUPPORT = torch.rand(N, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
INK = bytes([255] * SIDE + [0] * (SIDE * SIDE - SIDE))


def make_pad(shares: object = (0.5, 0.3, 0.2)) -> tuple[DrawingPad, list[Tensor]]:
    asked: list[Tensor] = []

    def answer(pixels: Tensor) -> object:
        asked.append(pixels)
        return shares

    return DrawingPad(SUPPORT, answer), asked


def test_a_drawing_reaches_the_callback_as_pixels_from_0_to_1() -> None:
    pad, asked = make_pad()
    pad.drawing = INK
    [pixels] = asked
    assert pixels.shape == (1, 1, SIDE, SIDE)
    assert pixels.dtype == torch.get_default_dtype()
    assert pixels[0, 0, 0].tolist() == [1.0] * SIDE
    assert pixels[0, 0, 1:].sum() == 0


def test_the_answer_goes_to_the_browser_as_float32() -> None:
    pad, _ = make_pad(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
    pad.drawing = INK
    assert np.allclose(np.frombuffer(pad.answer, "<f4"), [0.5, 0.3, 0.2])


def test_the_browsers_view_of_memory_is_taken_as_bytes() -> None:
    pad, asked = make_pad()
    pad.set_trait("drawing", memoryview(INK))
    assert pad.drawing == INK
    assert len(asked) == 1


def test_an_empty_sheet_asks_nobody_and_clears_the_answer() -> None:
    pad, asked = make_pad()
    pad.drawing = INK
    pad.drawing = b""
    assert len(asked) == 1
    assert pad.answer == b""


@pytest.mark.parametrize("shares", [(0.5, 0.5), [[0.5, 0.3, 0.2]], 0.1])
def test_an_answer_that_is_not_one_number_for_each_class_is_refused(shares: object) -> None:
    pad, _ = make_pad(shares)
    with pytest.raises(InputError, match=r"\[3\], a number for each class"):
        pad.drawing = INK


@pytest.mark.parametrize("shape", [(N, SIDE, SIDE), (N, 3, SIDE, SIDE), (N, 1, SIDE, SIDE + 1), (1, 1, SIDE, SIDE)])
def test_other_pictures_than_square_gray_ones_of_two_classes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=re.escape(f"{list(shape)}; [N, 1, H, H]")):
        DrawingPad(torch.zeros(shape), lambda pixels: [1.0])


def test_the_given_pictures_are_shipped() -> None:
    pad, _ = make_pad()
    assert np.array_equal(np.frombuffer(pad.payload, "u1"), (SUPPORT * 255).round().byte().numpy().ravel())
    assert pad.spec["nWay"] == N
    assert "draw one of the 3 characters" in pad.spec["invitation"]


def test_the_mime_bundle_has_a_picture_and_a_pad_that_needs_no_kernel() -> None:
    pad, _ = make_pad()
    bundle, _ = pad._repr_mimebundle_()
    assert {"text/plain", "text/html", "image/png", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    assert bundle["text/plain"] == "DrawingPad(nothing drawn)"
    assert Image.open(io.BytesIO(bundle["image/png"])).size[0] > 100
    page = bundle["text/html"]
    spec = json.loads(html.unescape(re.search(r'data-spec="([^"]*)"', page)[1]))
    assert spec["side"] == SIDE
    assert base64.b64decode(re.search(r'data-payload="([^"]*)"', page)[1]) == pad.payload
    assert not set(re.findall(r"https?://[^\s\"']+", page)) - {"http://www.w3.org/2000/svg"}


def test_the_picture_shows_the_drawing_and_the_answer() -> None:
    pad, _ = make_pad()
    before = np.asarray(Image.open(io.BytesIO(pad.png())).convert("L"))
    pad.drawing = INK
    after = np.asarray(Image.open(io.BytesIO(pad.png())).convert("L"))
    assert before.std() > 10
    assert (before != after).any()
    assert repr(pad) == "DrawingPad(a drawing)"


def test_its_script_mounts_the_pad() -> None:
    script = DrawingPad._esm
    assert script.count("function mount(") == 1
    assert script.rstrip().endswith("export default { render };")
    for kind in ("pointerdown", "pointermove", "pointerup", "pointercancel"):
        assert kind in script
