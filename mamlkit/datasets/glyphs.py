"""Glyphs, the embedded data set: about a thousand characters of many scripts, with 20 drawings each."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mamlkit.core.episodes import SPLITS, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import BAD_ARCHIVE
from mamlkit.datasets.store import Build, cached

SIZE = 28
PLACES = (Path(__file__).with_name("glyphs.npz"), Path(__file__).parents[2] / "data" / "glyphs.npz")


def glyphs_path() -> Path:
    """Return the path of the data file, in the package or in ``data/`` of the source tree.

    Raises:
        InputError: the file is in neither place.
    """
    for place in PLACES:
        if place.is_file():
            return place
    raise InputError(f"the embedded data set is missing at {PLACES[0]} and at {PLACES[1]}; install mamlkit again")


def load_glyphs(image_size: int) -> ImageStore:
    """Open the embedded data set, with ink 255 on background 0.

    Args:
        image_size: height and width in pixels; for sizes other than 28, the images are resized once and cached.

    Raises:
        InputError: the data file is missing or damaged.

    Writes: nothing at 28 pixels, otherwise the cache, see ``store.cached``.
    """
    path = glyphs_path()
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        with np.load(io.BytesIO(content)) as file:
            bits, split = file["bits"], file["split"]  # uint8 [n, 20, 98] and [n]
            names = tuple(file["names"].tobytes().decode().split("\n"))
    except BAD_ARCHIVE as error:
        raise InputError(f"{path} is damaged ({error}); install mamlkit again") from error
    images = np.unpackbits(bits.reshape(-1), axis=0).reshape(-1, SIZE, SIZE) * np.uint8(255)
    counts = [bits.shape[1]] * len(names)
    splits = {name: np.flatnonzero(split == number) for number, name in enumerate(SPLITS)}
    if image_size == SIZE:
        return ImageStore("glyphs", images, np.arange(len(names) + 1) * bits.shape[1], names, splits, digest)
    return cached(
        "glyphs",
        str(image_size),
        [digest],
        lambda: Build(names, counts, splits, (image_size,) * 2, _resize(images, image_size), lambda: digest),
    )


def _resize(images: NDArray[np.uint8], image_size: int) -> Iterator[NDArray[np.uint8]]:
    for image in images:
        yield np.asarray(Image.fromarray(image).resize((image_size, image_size), Image.Resampling.LANCZOS))
