"""Decode an image file to a small uint8 array."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mamlkit.core.errors import InputError

BAD_PICTURE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")


def is_colour(source: Path) -> bool:
    """Return whether an image file has colour channels; only its header is read.

    Raises:
        InputError: the file is not an image.
    """
    try:
        with Image.open(source) as image:
            return image.mode not in GREY_MODES
    except BAD_PICTURE as error:
        raise InputError(f"{source} does not decode as an image ({error})") from error


def decode(source: Path | IO[bytes], label: str, image_size: int, *, colour: bool, invert: bool) -> NDArray[np.uint8]:
    """Decode an image, rotate it by its EXIF orientation, put it on white, and resize it to a square with antialiasing.

    Args:
        source: a path or an open binary file.
        label: the name of the image in error messages.
        image_size: height and width of the result in pixels; the aspect ratio is not preserved.
        colour: return three channels instead of one.
        invert: invert the brightness, so that dark ink on white becomes 255 on 0.

    Returns:
        uint8 ``[image_size, image_size]``, or ``[image_size, image_size, 3]`` in colour.

    Raises:
        InputError: the image does not decode.
    """
    try:
        with Image.open(source) as image:
            flat = _flatten(ImageOps.exif_transpose(image)).convert("RGB" if colour else "L")
    except BAD_PICTURE as error:
        raise InputError(f"{label} does not decode as an image ({error})") from error
    small = flat.resize((image_size, image_size), Image.Resampling.LANCZOS)
    return np.asarray(ImageOps.invert(small) if invert else small)


def _flatten(image: Image.Image) -> Image.Image:
    """Return the image on a white background, without transparency, with 8 bits per channel."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA"))
    return image
