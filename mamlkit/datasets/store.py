"""Keep a data set as one memory-mapped array in the user's cache, built once from its source.

Beside ``<stem>.npy`` lies ``<stem>.json`` with the class names, offsets, splits and the source's SHA-256. The index
is written last, and a file of the wrong size or an index of another source counts as absent, so that an interrupted
build is simply built again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mamlkit.episodes import ImageStore
from mamlkit.errors import InputError
from mamlkit.files import cache_dir

FORMAT = 1


class Build(NamedTuple):
    """What a builder hands over: the index at once, the images one by one, the SHA-256 after the last image."""

    class_names: Sequence[str]
    counts: Sequence[int]  # images of each class, in order
    splits: Mapping[str, NDArray[np.int64]]
    image_shape: tuple[int, ...]  # (H, W) or (H, W, 3)
    images: Iterable[NDArray[np.uint8]]  # class after class
    sha256: Callable[[], str]


def data_dir() -> Path | None:
    """Return the folder of downloaded data sets, ``$MAMLKIT_DATA``, or None if it is not set."""
    value = os.environ.get("MAMLKIT_DATA", "")
    return Path(value).expanduser() if value else None


def cached(name: str, where: str, identity: Sequence[Any], build: Callable[[], Build]) -> ImageStore:
    """Open the cached array of a data set; build it first if it is absent or its source has changed.

    Args:
        name: the data set's name, also the beginning of the file name.
        where: which source and image size; a source has one cache file, whatever its state.
        identity: the state of the source, such as sizes and times of its files; JSON values.
        build: called only if there is no valid cache.

    Returns:
        The store; its images are a read-only memory map.

    Raises:
        InputError: the source is bad, or the cache cannot be written.

    Writes: ``<name>-<digest of where>.npy`` and ``.json`` in ``cache_dir()``, or nothing.
    """
    stem = f"{name}-{hashlib.sha256(where.encode()).hexdigest()[:12]}"
    array_path, index_path = cache_dir() / f"{stem}.npy", cache_dir() / f"{stem}.json"
    key = json.loads(json.dumps([FORMAT, *identity]))
    index = _read_index(index_path, array_path, key)
    if index is None:
        index = _write(name, array_path, index_path, key, build())
    images: NDArray[np.uint8] = np.load(array_path, mmap_mode="r").view(np.ndarray)
    return ImageStore(
        name=name,
        images=images,
        offsets=np.array(index["offsets"], dtype=np.int64),
        class_names=tuple(index["class_names"]),
        splits={split: np.array(classes, dtype=np.int64) for split, classes in index["splits"].items()},
        sha256=index["sha256"],
    )


def _read_index(index_path: Path, array_path: Path, key: list[Any]) -> dict[str, Any] | None:
    try:
        index: dict[str, Any] = json.loads(index_path.read_text(encoding="utf-8"))
        valid = index["key"] == key and index["n_bytes"] == array_path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return index if valid else None


def _write(name: str, array_path: Path, index_path: Path, key: list[Any], build: Build) -> dict[str, Any]:
    offsets = np.concatenate([[0], np.cumsum(build.counts)])
    shape = (int(offsets[-1]), *build.image_shape)
    temporary = array_path.with_name(f"{array_path.name}.{os.getpid()}.tmp")
    try:
        array_path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            _write_images(
                file, tqdm(build.images, f"building {name}", shape[0], unit=" images", leave=False, mininterval=0.5)
            )
        index = {
            "key": key,
            "class_names": list(build.class_names),
            "offsets": offsets.tolist(),
            "splits": {split: classes.tolist() for split, classes in build.splits.items()},
            "sha256": build.sha256(),
            "n_bytes": temporary.stat().st_size,
        }
        index_path.unlink(missing_ok=True)
        os.replace(temporary, array_path)
        temporary.write_text(json.dumps(index), encoding="utf-8")
        os.replace(temporary, index_path)
    except OSError as error:
        raise InputError(
            f"cannot write the cache file {array_path} ({error.strerror}); it needs {np.prod(shape) / 1e6:.1f} MB: "
            "make room there, or set MAMLKIT_CACHE to another folder"
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()
    return index


def _write_images(file: IO[bytes], images: Iterable[NDArray[np.uint8]]) -> None:
    for image in images:
        file.write(np.ascontiguousarray(image).data)
