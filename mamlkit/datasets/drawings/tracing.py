"""Convert a picture of a character back to pen strokes; needs scikit-image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

from mamlkit.datasets.drawings.strokes import GRID, MOST_STROKES, Drawing, Point, simplified

# Straight neighbours first, so that a walk follows corners.
AROUND = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]


def trace(picture: NDArray[np.uint8]) -> Drawing:
    """Trace the centre lines of a picture's ink as strokes.

    Args:
        picture: uint8 [H, W] of 100 pixels or so, ink above 127.

    Returns:
        Strokes on the grid, the longest first; if there are more than 16 strokes, the shortest are left out.

    Raises:
        InputError: the lines are too complex for a stored drawing.
    """
    thin = {(int(y), int(x)) for y, x in np.argwhere(skeletonize(picture > 127))}
    walks = []
    left = set(thin)
    while left:
        ends = [pixel for pixel in left if sum(near in left for near in _near(pixel)) <= 1]
        walks.append(_walk(min(ends or left), left, thin))
    walks.sort(key=len, reverse=True)
    scale = (GRID - 1) / (max(picture.shape) - 1)
    strokes = [[_point(pixel, scale) for pixel in walk] for walk in walks[:MOST_STROKES]]
    return simplified(strokes)


def _walk(start: Point, left: set[Point], thin: set[Point]) -> list[Point]:
    """Remove pixels from ``left`` one after another along a line, and join the walk to earlier walks."""
    walk = [*[pixel for pixel in _near(start) if pixel in thin and pixel not in left][:1], start]
    left.remove(start)
    while True:
        onward = [pixel for pixel in _near(walk[-1]) if pixel in left]
        if not onward:
            break
        straight = (2 * walk[-1][0] - walk[-2][0], 2 * walk[-1][1] - walk[-2][1]) if len(walk) > 1 else None
        walk.append(straight if straight in onward else onward[0])
        left.remove(walk[-1])
    joins = [pixel for pixel in _near(walk[-1]) if pixel in thin and pixel not in walk[-3:]]
    return walk + joins[:1]


def _near(pixel: Point) -> list[Point]:
    return [(pixel[0] + dy, pixel[1] + dx) for dy, dx in AROUND]


def _point(pixel: Point, scale: float) -> Point:
    return round(pixel[1] * scale), round(pixel[0] * scale)
