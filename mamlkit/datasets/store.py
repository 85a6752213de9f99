"""Store a data set as one memory-mapped array in the user's cache; build it once from its source.

The index file ``<stem>.json`` holds the class names, offsets, splits, the SHA-256 of the source, and the name of the
array file. The name of the array file ends with a digest of its content. A new array therefore never overwrites an
array that a program has mapped; Windows does not allow such an overwrite. The index is written last. If the array has
the wrong size or the index belongs to another source, the cache counts as absent; so an interrupted build is repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import cache_dir, discard, replace

FORMAT = 2
BAR_AFTER = 2.0  # seconds until a build shows a progress bar


class Build(NamedTuple):
    """The output of a builder: the index at once, the images one by one, and the SHA-256 after the last image."""

    class_names: Sequence[str]
    counts: Sequence[int]  # images of each class, in order
    splits: Mapping[str, NDArray[np.int64]]
    image_shape: tuple[int, ...]  # (H, W) or (H, W, 3)
    images: Iterable[NDArray[np.uint8]]  # class after class
    sha256: Callable[[], str]


def data_dir() -> Path | None:
    """Return the folder of downloaded data sets, ``$MAMLKIT_DATA``, or None if the variable is not set."""
    value = os.environ.get("MAMLKIT_DATA", "")
    return Path(os.path.expanduser(value)) if value else None


def cached(name: str, where: str, identity: Sequence[Any], build: Callable[[], Build]) -> ImageStore:
    """Open the cached array of a data set; build it first if it is absent or its source has changed.

    Args:
        name: the data set's name; the file names begin with it.
        where: the source and the image size; each source has one cache file, whatever its state.
        identity: the state of the source, such as the sizes and times of its files; JSON values.
        build: called only if there is no valid cache.

    Returns:
        The store; its images are a read-only memory map.

    Raises:
        InputError: the source is invalid, or the cache cannot be written.

    Writes: if it builds, ``<name>-<digest of where>.json`` and an array file in ``cache_dir()``; older arrays are
        deleted.
    """
    index_path = cache_dir() / f"{name}-{hashlib.sha256(where.encode()).hexdigest()[:12]}.json"
    key = json.loads(json.dumps([FORMAT, *identity]))
    store = _open(name, index_path, key)
    if store is None:
        _write(name, index_path, key, build())
        store = _open(name, index_path, key)
    if store is None:
        raise InputError(f"another program writes the cache file {index_path}; wait for it, then try again")
    return store


def _open(name: str, index_path: Path, key: list[Any]) -> ImageStore | None:
    """Return the store of a valid cache, or None; another program may replace the cache at the same time."""
    try:
        index: dict[str, Any] = json.loads(index_path.read_text(encoding="utf-8"))
        array_path = index_path.with_name(index["array"])
        if index["key"] != key or index["n_bytes"] != array_path.stat().st_size:
            return None
        images: NDArray[np.uint8] = np.load(array_path, mmap_mode="r").view(np.ndarray)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ImageStore(
        name=name,
        images=images,
        offsets=np.array(index["offsets"], dtype=np.int64),
        class_names=tuple(index["class_names"]),
        splits={split: np.array(classes, dtype=np.int64) for split, classes in index["splits"].items()},
        sha256=index["sha256"],
    )


def _write(name: str, index_path: Path, key: list[Any], build: Build) -> None:
    offsets = np.concatenate([[0], np.cumsum(build.counts)])
    shape = (int(offsets[-1]), *build.image_shape)
    temporary = index_path.with_name(f"{index_path.stem}.{os.getpid()}.tmp")
    try:
        index_path.parent.mkdir(parents=True, exist_ok=True)
        bar = {"desc": f"building {name}", "unit": " images", "leave": False, "mininterval": 0.5, "delay": BAR_AFTER}
        images = tqdm(build.images, total=shape[0], **bar)
        array_path = index_path.with_name(f"{index_path.stem}-{_write_array(temporary, shape, images)}.npy")
        index = {
            "key": key,
            "class_names": list(build.class_names),
            "offsets": offsets.tolist(),
            "splits": {split: classes.tolist() for split, classes in build.splits.items()},
            "sha256": build.sha256(),
            "array": array_path.name,
            "n_bytes": temporary.stat().st_size,
        }
        if not array_path.is_file() or array_path.stat().st_size != index["n_bytes"]:
            replace(temporary, array_path)
        temporary.write_text(json.dumps(index), encoding="utf-8")
        replace(temporary, index_path)
    except OSError as error:
        file = f"the cache file {index_path.with_suffix('.npy')}"
        raise InputError(
            f"cannot write {file} ({error.strerror}); it needs {np.prod(shape) / 1e6:.1f} MB: "
            "make room there, or set MAMLKIT_CACHE to another folder"
        ) from error
    finally:
        discard(temporary)
    for old in set(index_path.parent.glob(f"{index_path.stem}*.npy")) - {array_path}:
        discard(old)


def _write_array(path: Path, shape: tuple[int, ...], images: Iterable[NDArray[np.uint8]]) -> str:
    """Write images to a NumPy file, one by one, and return a digest of them."""
    digest = hashlib.sha256(repr(shape).encode())
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for image in images:
            content = np.ascontiguousarray(image).data
            digest.update(content)
            file.write(content)
    return digest.hexdigest()[:12]
