"""Drawings: one way from strokes to a picture, whatever their place and size, and strokes with few points."""

from __future__ import annotations

import numpy as np
import pytest

from mamlkit import InputError
from mamlkit.datasets.drawings import check_drawn, rasterise, same, simplified
from mamlkit.datasets.drawings.strokes import MOST_POINTS, Drawing

SEVEN: Drawing = (((10, 10), (60, 10), (30, 80)), ((20, 45), (55, 45)))


def moved(drawing: Drawing, scale: float, dx: int, dy: int) -> Drawing:
    return tuple(tuple((round(x * scale) + dx, round(y * scale) + dy) for x, y in stroke) for stroke in drawing)


def test_a_picture_is_the_same_wherever_and_however_large_it_was_drawn() -> None:
    picture = rasterise(SEVEN)
    assert picture.shape == (28, 28)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, rasterise(moved(SEVEN, 1, 30, 15)))
    half = rasterise(moved(SEVEN, 0.5, 5, 50))
    assert np.abs(half.astype(int) - picture).mean() < 6  # points are rounded to the grid


def test_the_ink_is_twenty_pixels_and_a_pen_long_in_the_middle_and_keeps_its_proportions() -> None:
    rows, columns = np.nonzero(rasterise(SEVEN) > 127)
    assert (rows.min(), rows.max()) == (3, 24)
    assert rows.min() + rows.max() == 27
    assert columns.min() + columns.max() == pytest.approx(27, abs=1)
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(50 / 70, abs=0.1)


def test_edges_are_smooth_and_ink_is_light_on_dark() -> None:
    picture = rasterise(SEVEN)
    assert picture[0, 0] == 0
    assert picture.max() == 255
    assert ((picture > 20) & (picture < 235)).any()


def test_a_dot_beside_a_line_is_drawn_and_a_dot_alone_stays_small() -> None:
    line = (((10, 50), (90, 50)),)
    assert rasterise((*line, ((50, 20),))).sum() > rasterise(line).sum()
    assert (rasterise((((50, 50), (52, 50)),)) > 127).sum() < 30


@pytest.mark.parametrize(
    ("drawing", "told"),
    [
        ((), "class 'a' is empty; draw a character, large and in the middle"),
        ((((40, 40),),), "class 'a' is a dot, 0 of 100 wide and high; draw it 10 or more"),
        ((((40, 40), (44, 49)),), "class 'a' is a dot, 9 of 100 wide and high; draw it 10 or more"),
    ],
)
def test_an_empty_drawing_and_a_dot_are_refused(drawing: Drawing, told: str) -> None:
    with pytest.raises(InputError, match=f"^{told}$"):
        check_drawn(drawing, "class 'a'")


def test_ten_wide_is_enough() -> None:
    check_drawn((((40, 40), (50, 40)),), "class 'a'")


def test_points_that_do_not_matter_are_left_out_and_corners_stay() -> None:
    straight = [(x, 20) for x in range(10, 90)]
    corner = [*straight, *[(89, y) for y in range(21, 70)]]
    assert simplified([straight, [], corner]) == (((10, 20), (89, 20)), ((10, 20), (89, 20), (89, 69)))


def test_a_closed_stroke_keeps_its_round() -> None:
    angles = np.linspace(0, 2 * np.pi, 60)
    ring = [(round(50 + 30 * float(np.cos(a))), round(50 + 30 * float(np.sin(a)))) for a in angles]
    [kept] = simplified([ring])
    assert 8 <= len(kept) <= 30
    assert kept[0] == kept[-1]
    assert same(rasterise((tuple(ring),)), rasterise((kept,)))


def test_a_long_drawing_is_simplified_further_until_it_can_be_kept() -> None:
    waves = [[(x, round(20 * row + 3 * float(np.sin(x / 2)))) for x in range(1, 99)] for row in range(1, 4)]
    kept = simplified(waves)
    assert MOST_POINTS >= sum(map(len, kept)) > 20
    assert all(len(simplified([wave])[0]) > len(short) for wave, short in zip(waves, kept))


def test_too_many_strokes_and_a_scribble_are_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^the drawing has 17 strokes; up to 16 are allowed, so clear some$"):
        simplified([[(i, 5), (i, 20)] for i in range(17)])
    scribble = [[(x, 5 if x % 2 else 95) for x in range(99)]]
    with pytest.raises(InputError, match=r"^the drawing is too wild for 56 points; draw it with fewer turns$"):
        simplified(scribble)


def test_two_drawings_are_the_same_only_where_hardly_any_ink_differs() -> None:
    seven = rasterise(SEVEN)
    assert same(seven, rasterise(moved(SEVEN, 1, 20, 10)))
    assert not same(seven, rasterise(SEVEN[:1]))
