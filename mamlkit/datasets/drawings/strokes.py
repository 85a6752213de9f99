"""A drawing as strokes on a grid of 100 x 100, and its rendering as a picture."""

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
REACH = 20  # pixels; length of the longer side of the drawing in the picture
PEN = 2  # pixels
FINE = 4  # render at this multiple of the size, then shrink, for smooth edges
SMALLEST = 10  # of GRID; a smaller drawing is a dot, not a character
MOST_POINTS, MOST_STROKES = 56, 16  # limits of a stored drawing
TOLERANCES = (1.0, 1.5, 2.0, 3.0, 4.0)  # of GRID; allowed deviations: the smallest that suffices is used
ALIKE = 0.05  # two drawings are the same if a smaller share of their ink differs


def simplified(drawing: Sequence[Sequence[Point]]) -> Drawing:
    """Simplify a drawing to at most 56 points, as close to the original as possible.

    Apply the Ramer-Douglas-Peucker algorithm stroke by stroke, with the smallest of ``TOLERANCES`` that suffices.

    Args:
        drawing: strokes of points (x, y) on the grid; strokes without points are left out.

    Returns:
        The strokes; each keeps its first and last point, and those between that deviate by more than the tolerance.

    Raises:
        InputError: there are more than 16 strokes, or 56 points cannot represent the strokes.
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
    """Raise unless the drawing can be a character.

    Args:
        drawing: strokes on the grid.
        label: the name of the drawing in error messages, such as ``"class 3"``.

    Raises:
        InputError: the drawing is empty or a dot.
    """
    if not drawing:
        raise InputError(f"{label} is empty; draw a character, large and in the middle")
    extent = float(np.ptp([point for stroke in drawing for point in stroke], axis=0).max())
    if extent < SMALLEST:
        raise InputError(f"{label} is a dot, {extent:.0f} of {GRID} wide and high; draw it {SMALLEST} or more")


def rasterise(drawing: Drawing) -> NDArray[np.uint8]:
    """Render a drawing: centred, scaled to one size, drawn with one pen.

    Args:
        drawing: at least one stroke on the grid.

    Returns:
        uint8 [28, 28], ink 255 on 0. The longer side of the ink is 20 pixels plus the width of the pen; a dot stays a
        dot.
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
    """Return whether two pictures show the same drawing: less than 5 % of their ink differs."""
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
        along = (inner @ chord / length**2).clip(0, 1)  # nearest point on the chord
        strays = np.hypot(*(inner - along[:, None] * chord).T)
    else:
        strays = np.hypot(*inner.T)
    farthest = int(strays.argmax())
    if strays[farthest] <= tolerance:
        return stroke[0], stroke[-1]
    split = farthest + 1
    return _simplify(stroke[: split + 1], tolerance)[:-1] + _simplify(stroke[split:], tolerance)
