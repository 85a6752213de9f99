"""Data sets in folders: mini-ImageNet, and any ``<class>/<images>`` tree."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamlkit.core.episodes import SPLITS, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.datasets.pictures import decode, is_colour
from mamlkit.datasets.store import Build, cached, data_dir

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
VAL_SHARE, TEST_SHARE, SPLIT_SEED = 0.16, 0.20, 0

Tree = dict[str, dict[str, list[Path]]]  # split, or "" if the folder has no splits -> class -> image files


def load_folder(path: str, image_size: int) -> ImageStore:
    """Open a folder of pictures without inverting them.

    The folder holds one subfolder for each class, or the folders train, val and test with one subfolder for each class.
    Without these three folders, a fixed shuffle of the classes puts 64 % into train, 16 % into val and 20 % into test.
    The images are in colour if any picture is in colour.

    Args:
        path: the folder.
        image_size: height and width in pixels; aspect ratios are not preserved.

    Raises:
        InputError: the folder is missing, has fewer than 3 classes, or has an empty class; or a file does not decode.

    Writes: the cache, see ``store.cached``.
    """
    if not path:
        raise InputError("the data set folder needs a path, the folder of your pictures; it is empty")
    root = Path(os.path.expanduser(path))
    return _load("folder", root, image_size, split=(root / "train").is_dir(), colour=None)


def load_mini_imagenet(path: str, image_size: int) -> ImageStore:
    """Open mini-ImageNet in colour from the folders train, val and test.

    Args:
        path: the folder; if empty, ``$MAMLKIT_DATA/mini-imagenet``.
        image_size: height and width in pixels, 84 in the paper.

    Raises:
        InputError: see ``load_folder``; or a split is missing.

    Writes: the cache, see ``store.cached``. MAML++ paper, section 4.1.
    """
    parent = data_dir()
    if not path and parent is None:
        raise InputError(
            "mini-imagenet needs a path, or its folder as $MAMLKIT_DATA/mini-imagenet; neither is set. "
            "The embedded data set, glyphs, needs no path"
        )
    root = Path(os.path.expanduser(path)) if path or parent is None else parent / "mini-imagenet"
    return _load("mini-imagenet", root, image_size, split=True, colour=True)


def find_mini_imagenet() -> str:
    """Return the folder of mini-ImageNet in ``$MAMLKIT_DATA``, or "" if it does not exist."""
    parent = data_dir()
    root = None if parent is None else parent / "mini-imagenet"
    return str(root) if root is not None and root.is_dir() else ""


def split_classes(n_classes: int) -> dict[str, NDArray[np.int64]]:
    """Return a fixed shuffle of the classes, cut into 64 % train, 16 % val and 20 % test, at least one class each.

    Args:
        n_classes: 3 or more; the result depends on it alone.
    """
    n_val, n_test = (max(1, round(share * n_classes)) for share in (VAL_SHARE, TEST_SHARE))
    order = np.random.default_rng(SPLIT_SEED).permutation(n_classes)
    train, val, test = np.split(order, (n_classes - n_val - n_test, n_classes - n_test))
    return {"train": train, "val": val, "test": test}


def _load(name: str, root: Path, image_size: int, *, split: bool, colour: bool | None) -> ImageStore:
    tree = _scan(root, split)
    files = [file for classes in tree.values() for pictures in classes.values() for file in pictures]
    state = hashlib.sha256(repr([_state(file, root) for file in files]).encode()).hexdigest()

    def build() -> Build:
        in_colour = any(is_colour(file) for file in files) if colour is None else colour
        digest = hashlib.sha256()
        return Build(
            class_names=[label for classes in tree.values() for label in classes],
            counts=[len(pictures) for classes in tree.values() for pictures in classes.values()],
            splits=_splits(tree),
            image_shape=(image_size, image_size, 3) if in_colour else (image_size, image_size),
            images=_decode_all(files, image_size, in_colour, digest),
            sha256=digest.hexdigest,
        )

    return cached(name, f"{image_size} {root.resolve()}", [state], build)


def _state(file: Path, root: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    return str(file.relative_to(root)), status.st_size, status.st_mtime_ns


def _scan(root: Path, split: bool) -> Tree:
    if not root.is_dir():
        raise InputError(
            f"{root} is not a folder; it must be a folder with one subfolder of images for each class. "
            "The embedded data set, glyphs, needs no folder"
        )
    tree = {part: _scan_classes(root / part) for part in (SPLITS if split else ("",))}
    owner: dict[str, str] = {}
    for part, classes in tree.items():
        for label in classes:
            if label in owner:
                raise InputError(f"class {label!r} of {root} is in {owner[label]} and in {part}; one is allowed")
            owner[label] = part
    if len(owner) < 3:
        raise InputError(f"{root} has {len(owner)} class folders; at least 3 are needed, one for each split")
    return tree


def _scan_classes(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; the folders {', '.join(SPLITS)} are needed")
    labels = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    classes = {}
    for label in labels:
        pictures = [f for f in label.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        if not pictures:
            raise InputError(f"class folder {label} has no images; files ending in {', '.join(SUFFIXES)} count")
        classes[label.name] = sorted(pictures)
    if not classes:
        raise InputError(f"{folder} has no class folders; one folder of images for each class is needed")
    return classes


def _splits(tree: Tree) -> dict[str, NDArray[np.int64]]:
    if "" in tree:
        return split_classes(len(tree[""]))
    cuts = np.cumsum([len(classes) for classes in tree.values()])
    return dict(zip(tree, np.split(np.arange(cuts[-1]), cuts[:-1]), strict=True))


def _decode_all(files: list[Path], image_size: int, colour: bool, digest: Any) -> Iterator[NDArray[np.uint8]]:
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise _unreadable(file, error) from error
        digest.update(content)
        yield decode(io.BytesIO(content), str(file), image_size, colour=colour, invert=False)


def _unreadable(file: Path, error: OSError) -> InputError:
    return InputError(f"cannot read {file}: {error.strerror}")
