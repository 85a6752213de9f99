"""Class-indexed image stores under one ``load``, and the sinusoid regression toy beside them."""

from __future__ import annotations

from mamlkit.core.config import DATASETS, WITH_A_PATH
from mamlkit.core.episodes import ImageStore, check_choice
from mamlkit.core.errors import InputError
from mamlkit.datasets.folders import load_folder, load_mini_imagenet
from mamlkit.datasets.glyphs import load_glyphs
from mamlkit.datasets.omniglot import load_omniglot
from mamlkit.datasets.wall import load_wall

__all__ = ["ImageStore", "load"]

LARGEST = 1024  # pixels on a side


def load(name: str, *, path: str = "", image_size: int = 28) -> ImageStore:
    """Open a data set by name.

    Args:
        name: ``"glyphs"``, ``"omniglot"``, ``"mini-imagenet"``, ``"folder"`` or ``"wall"``.
        path: folder of the images, or of the sheets of drawings; only for ``mini-imagenet``, ``folder`` and ``wall``.
        image_size: height and width of an image in pixels, 1 to 1024.

    Returns:
        The images, class after class, with the splits train, val and test.

    Raises:
        InputError: the name is unknown, or the data are missing or bad.

    Writes: a cache file on first use, see ``mamlkit.datasets.store.cached``.
    """
    check_choice("data set", name, DATASETS)
    if not 1 <= image_size <= LARGEST:
        raise InputError(f"image_size = {image_size} is out of range; 1 to {LARGEST} is allowed")
    if path and name not in WITH_A_PATH:
        raise InputError(f"path = {path!r} has no meaning for {name}; leave it empty")
    if name == "glyphs":
        return load_glyphs(image_size)
    if name == "omniglot":
        return load_omniglot(image_size)
    if name == "wall":
        return load_wall(path, image_size)
    return load_folder(path, image_size) if name == "folder" else load_mini_imagenet(path, image_size)
