"""Render the characters of a data set as drawings of the pad; needs scikit-image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mamlkit.core.data_sources import SOURCES, without_a_path
from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError, check_choice
from mamlkit.datasets import load
from mamlkit.datasets.drawings import Drawing, rasterise
from mamlkit.datasets.drawings.tracing import trace

TRACED_AT = 105  # pixels on a side, the size of Omniglot's originals


def load_characters(name: str) -> ImageStore:
    """Open a data set of characters at its original image size, without resampling.

    Args:
        name: a data set of characters without a path: ``"glyphs"`` or ``"omniglot"``.

    Raises:
        InputError: the name is not one of these, or the data are missing or invalid.

    Writes: the cache of Omniglot on first use, see ``mamlkit.datasets.load``.
    """
    check_choice("dataset", name, tuple(name for name in without_a_path() if SOURCES[name].characters))
    return load(name, image_size=SOURCES[name].pixels)


def as_drawing(image: NDArray[np.uint8]) -> Drawing:
    """Convert the picture of a character to strokes.

    Args:
        image: uint8 [H, W], ink 255 on 0; it is first resized to 105 x 105 pixels.

    Raises:
        InputError: the picture holds no ink, or lines too complex for a drawing.
    """
    if image.shape != (TRACED_AT, TRACED_AT):
        image = np.asarray(Image.fromarray(image).resize((TRACED_AT, TRACED_AT), Image.Resampling.LANCZOS))
    drawing = trace(image)
    if not drawing:
        raise InputError(f"the picture's brightest pixel is {image.max()}; ink above 127 is needed")
    return drawing


def as_drawn(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Trace a picture to strokes and render them with the pad's pen, as for the training of the drawing starts.

    Args:
        image: see ``as_drawing``.

    Returns:
        uint8 [28, 28], see ``mamlkit.datasets.drawings.rasterise``.

    Raises:
        InputError: see ``as_drawing``.
    """
    return rasterise(as_drawing(image))
