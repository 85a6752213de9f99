"""A drawing as strokes on a grid of 100 x 100, and as the picture that a network gets of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mamlkit.core.errors import InputError

Point = tuple[int, int]
Stroke = tuple[Point, ...]
Drawing = tuple[Stroke, ...]

GRID = 100  # a coordinate is 0 to 99, right and down
SIDE = 28  # pixels of the picture
REACH = 20  # pixels of the longer side of what is drawn
PEN = 2  # pixels
FINE = 4  # drawn so many times larger, then shrunk, for smooth edges
SMALLEST = 10  # of GRID; less is a dot, and not a character
MOST_POINTS, MOST_STROKES = 56, 16  # of a drawing that is kept
TOLERANCES = (1.0, 1.5, 2.0, 3.0, 4.0)  # of GRID; how far a simplified stroke may stray: as little as will do
ALIKE = 0.05  # two drawings of which less of the ink differs are the same


def simplified(drawing: Sequence[Sequence[Point]]) -> Drawing:
    """Return a drawing with few enough points to be kept, and as near to the given one as that allows.

    Args:
        drawing: strokes of points (x, y) on the grid; a stroke without points is left out.

    Returns:
        Strokes with their first and last points, and of the others only those that matter by ``TOLERANCES``.

    Raises:
        InputError: there are more than 16 strokes, or strokes so wild that 56 points cannot follow them.

    Pure: the Ramer-Douglas-Peucker algorithm, stroke by stroke.
    """
    strokes = [tuple((int(x), int(y)) for x, y in stroke) for stroke in drawing if stroke]
    if len(strokes) > MOST_STROKES:
        raise InputError(f"the drawing has {len(strokes)} strokes; up to {MOST_STROKES} are allowed, so clear some")
    for tolerance in TOLERANCES:
        kept = tuple(_simplify(stroke, tolerance) for stroke in strokes)
        if sum(map(len, kept)) <= MOST_POINTS:
            return kept
    raise InputError(f"the drawing is too wild for {MOST_POINTS} points; draw it with fewer turns")


def check_drawn(drawing: Drawing, label: str) -> None:
    """Refuse a drawing that cannot be a character.

    Args:
        drawing: strokes on the grid.
        label: what an error calls it, as ``"class 3"``.

    Raises:
        InputError: nothing is drawn, or no more than a dot.
    """
    if not drawing:
        raise InputError(f"{label} is empty; draw a character, large and in the middle")
    extent = float(np.ptp([point for stroke in drawing for point in stroke], axis=0).max())
    if extent < SMALLEST:
        raise InputError(f"{label} is a dot, {extent:.0f} of {GRID} wide and high; draw it {SMALLEST} or more")


def rasterise(drawing: Drawing) -> NDArray[np.uint8]:
    """Return the picture of a drawing: moved to the middle, scaled to one size, drawn with one pen.

    Args:
        drawing: strokes on the grid; one at least.

    Returns:
        uint8 [28, 28], ink 255 on 0. The longer side of the ink is 20 pixels and a pen's width; a dot stays one.

    Pure: no state.
    """
    points = np.array([point for stroke in drawing for point in stroke], dtype=float)  # [P, 2]
    low, high = points.min(0), points.max(0)
    extent = max(float((high - low).max()), SMALLEST)
    scale, middle = REACH * FINE / extent, (low + high) / 2
    sheet = Image.new("L", (SIDE * FINE, SIDE * FINE))
    pen = ImageDraw.Draw(sheet)
    for stroke in drawing:
        path = [tuple((np.array(point) - middle) * scale + SIDE * FINE / 2) for point in stroke]
        pen.line(path, fill=255, width=PEN * FINE, joint="curve")
        for x, y in (path[0], path[-1]):  # round ends; a stroke of one point is a dot
            pen.circle((x, y), PEN * FINE / 2, fill=255)
    return np.asarray(sheet.resize((SIDE, SIDE), Image.Resampling.BOX))


def same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Return whether two pictures show the same drawing: less than a twentieth of their ink differs.

    Pure: no state.
    """
    different = np.abs(one.astype(int) - other).sum()
    return bool(different < ALIKE * (int(one.sum()) + int(other.sum())))


def _simplify(stroke: Stroke, tolerance: float) -> Stroke:
    if len(stroke) < 3:
        return stroke
    points = np.array(stroke, dtype=float)
    first, chord = points[0], points[-1] - points[0]
    length = float(np.hypot(*chord))
    inner = points[1:-1] - first  # [P - 2, 2]
    if length:
        along = (inner @ chord / length**2).clip(0, 1)  # nearest place on the chord
        strays = np.hypot(*(inner - along[:, None] * chord).T)
    else:
        strays = np.hypot(*inner.T)
    farthest = int(strays.argmax())
    if strays[farthest] <= tolerance:
        return stroke[0], stroke[-1]
    split = farthest + 1
    return _simplify(stroke[: split + 1], tolerance)[:-1] + _simplify(stroke[split:], tolerance)
