"""The characters of a data set as the drawing pad would have drawn them; needs scikit-image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mamlkit.core.data_sources import SOURCES, without_a_path
from mamlkit.core.episodes import ImageStore, check_choice
from mamlkit.core.errors import InputError
from mamlkit.datasets import load
from mamlkit.datasets.drawings import Drawing, rasterise
from mamlkit.datasets.drawings.tracing import trace

TRACED_AT = 105  # pixels on a side, as Omniglot's originals


def load_characters(name: str) -> ImageStore:
    """Open a data set of characters in the size of its own pictures, of which none is lost and none is made up.

    Args:
        name: of a data set of characters that needs no path, as ``"glyphs"`` or ``"omniglot"``.

    Raises:
        InputError: the data set has another name, or it is missing or bad.

    Writes: the cache of Omniglot on first use, see ``mamlkit.datasets.load``.
    """
    check_choice("dataset", name, tuple(name for name in without_a_path() if SOURCES[name].characters))
    return load(name, image_size=SOURCES[name].pixels)


def as_drawing(image: NDArray[np.uint8]) -> Drawing:
    """Return a picture of a character as strokes.

    Args:
        image: uint8 [H, W], ink 255 on 0; brought to 105 x 105 pixels first.

    Raises:
        InputError: the picture holds no ink, or lines too wild for a drawing.

    Pure: no state.
    """
    if image.shape != (TRACED_AT, TRACED_AT):
        image = np.asarray(Image.fromarray(image).resize((TRACED_AT, TRACED_AT), Image.Resampling.LANCZOS))
    drawing = trace(image)
    if not drawing:
        raise InputError(f"the picture's brightest pixel is {image.max()}; ink above 127 is needed")
    return drawing


def as_drawn(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture traced to strokes and drawn again by the pad's pen, as the drawing starts were trained on.

    Args:
        image: see ``as_drawing``.

    Returns:
        uint8 [28, 28], see ``mamlkit.datasets.drawings.rasterise``.

    Raises:
        InputError: see ``as_drawing``.

    Pure: no state.
    """
    return rasterise(as_drawing(image))
