"""Image data sets, all opened by ``load``, and the sinusoid regression tasks."""

from __future__ import annotations

from mamlkit.core.data_sources import SOURCES
from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError, check_choice
from mamlkit.core.system.imports import load_by_name

__all__ = ["ImageStore", "load"]

LARGEST = 1024  # pixels on a side


def load(name: str, *, path: str = "", image_size: int = 28) -> ImageStore:
    """Open a data set by name.

    Args:
        name: a name in ``mamlkit.core.data_sources.SOURCES``, such as ``"glyphs"`` or ``"omniglot"``.
        path: folder of the images or of the drawing sheets; allowed only for data sets that need one.
        image_size: height and width of an image in pixels, 1 to 1024.

    Returns:
        The images in class order, with the splits train, val and test.

    Raises:
        InputError: the name is unknown, or the data are missing or bad.

    Writes: a cache file on first use, see ``mamlkit.datasets.store.cached``.
    """
    check_choice("data set", name, tuple(SOURCES))
    if not 1 <= image_size <= LARGEST:
        raise InputError(f"image_size = {image_size} is out of range; 1 to {LARGEST} is allowed")
    source = SOURCES[name]
    if path and not source.takes_path:
        raise InputError(f"path = {path!r} has no meaning for {name}; leave it empty")
    read = load_by_name(source.reader)
    store: ImageStore = read(path, image_size) if source.takes_path else read(image_size)
    return store
