"""Traced and drawn again, a character looks as it did."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mamlkit.datasets import ImageStore
from mamlkit.datasets.drawings import Drawing, Sheet, read_sheet
from mamlkit.datasets.drawings.strokes import MOST_POINTS, MOST_STROKES
from mamlkit.datasets.drawings.tracing import trace


def ink_at(picture: np.ndarray) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in np.argwhere(picture > 127)}


def drawn_at(drawing: Drawing, side: int) -> np.ndarray:
    """Return a drawing at its own place and size, with a pen of one pixel."""
    sheet = Image.new("L", (side, side))
    for stroke in drawing:
        path = [(x * (side - 1) / 99, y * (side - 1) / 99) for x, y in stroke]
        ImageDraw.Draw(sheet).line(path, fill=255) if len(path) > 1 else ImageDraw.Draw(sheet).point(path, fill=255)
    return np.asarray(sheet)


def far(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> float:
    """Return how far, on average, a pixel of one picture is from the next of the other."""
    a, b = (np.array(sorted(pixels)) for pixels in (one, other))
    return float(np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1)).min(1).mean())


def test_a_traced_and_redrawn_character_follows_the_ink_of_its_picture(omniglot_105: ImageStore) -> None:
    for image in omniglot_105.images[:: len(omniglot_105.images) // 40]:
        picture = np.asarray(image)
        drawn = drawn_at(trace(picture), 105)
        assert far(ink_at(drawn), ink_at(picture)) < 0.5  # pixels of 105: the strokes lie in the ink
        assert far(ink_at(picture), ink_at(drawn)) < 2.0  # and all ink has a stroke near by


def test_every_traced_character_fits_a_sheet(omniglot_105: ImageStore) -> None:
    drawings = [trace(np.asarray(image)) for image in omniglot_105.images[:: len(omniglot_105.images) // 100]]
    assert max(len(drawing) for drawing in drawings) <= MOST_STROKES
    assert max(sum(map(len, drawing)) for drawing in drawings) <= MOST_POINTS
    sheet = Sheet({str(i): drawing for i, drawing in enumerate(drawings[:10])})
    assert read_sheet(sheet.to_json(), "it").classes == sheet.classes


@pytest.mark.parametrize("turned", [False, True])
def test_a_line_a_cross_and_a_ring_become_the_strokes_that_one_would_draw(turned: bool) -> None:
    line = np.zeros((105, 105), np.uint8)
    line[50:53, 10:95] = 255
    cross = line.copy()
    cross[10:95, 50:53] = 255
    y, x = np.mgrid[:105, :105]
    ring = np.where(np.abs(np.hypot(y - 52, x - 52) - 35) < 2, 255, 0).astype(np.uint8)
    counts = [len(trace(picture.T if turned else picture)) for picture in (line, cross, ring)]
    assert counts[0] == 1
    assert 2 <= counts[1] <= 4
    assert counts[2] == 1
    [stroke] = trace(line.T if turned else line)
    assert len(stroke) == 2


def test_a_single_pixel_is_a_dot() -> None:
    picture = np.zeros((105, 105), np.uint8)
    picture[40, 70] = 255
    assert trace(picture) == (((67, 38),),)
