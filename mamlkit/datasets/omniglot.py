"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people.

Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic program induction",
Science 350 (2015). The split is that of the MAML++ authors' code: 1150/50/423 characters.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import BAD_ARCHIVE, cache_dir
from mamlkit.core.system.imports import check_installed, load_by_name
from mamlkit.datasets.pictures import decode
from mamlkit.datasets.store import Build, cached, data_dir

URL = "https://github.com/brendenlake/omniglot/raw/master/python/"
ARCHIVES = {
    "images_background.zip": "0d62fd2dc478a7881c55f70b3c2535f0eb4daaa56bf3b744e58d38ea8bb30bd9",
    "images_evaluation.zip": "cbc898af80df5152131ad63e69ee39e8f03cf7a8c173e201738dc17dbf402c6f",
}
SPLIT_SEED, SPLIT_CUTS = 985773, (1150, 1200)

Members = dict[str, list[tuple[Path, str]]]  # class name -> (archive, member) of its images


def load_omniglot(image_size: int) -> ImageStore:
    """Open Omniglot with ink 255 on background 0; download the archives and build the cache if necessary.

    Search ``$MAMLKIT_DATA/omniglot/`` for the two archives, then the cache folder; download them if both lack them.

    Args:
        image_size: height and width in pixels; the originals have 105.

    Raises:
        InputError: an archive cannot be downloaded, is damaged, or differs from the published archive.

    Writes: the cache, see ``store.cached``. MAML++ paper, section 4.1; the split is that of the authors' code.
    """
    paths = [find_archive(name) for name in ARCHIVES]
    states = [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    where = f"{image_size} " + " ".join(str(path.resolve()) for path in paths)
    return cached("omniglot", where, states, lambda: _build(paths, image_size))


def find_archive(name: str) -> Path:
    """Return the path of one of the two archives; download it if it is not on this computer.

    Raises:
        InputError: the download fails, the downloaded file differs from the published one, or Pooch is not installed.

    Writes: ``omniglot/<name>`` in the cache folder, after a download.
    """
    here = local_archive(name)
    if here is not None:
        return here
    check_installed("the download of Omniglot", ("pooch",), extra="omniglot")
    retrieve = load_by_name("pooch:retrieve")
    try:
        return Path(retrieve(URL + name, f"sha256:{ARCHIVES[name]}", name, cache_dir() / "omniglot", progressbar=True))
    except ValueError as error:
        raise InputError(f"the file from {URL}{name} differs from the published archive ({error})") from error
    except OSError as error:
        raise InputError(
            f"cannot download {URL}{name} ({type(error).__name__}); put the file into the folder omniglot "
            "of $MAMLKIT_DATA, or use the embedded data set: glyphs"
        ) from error


def local_archive(name: str) -> Path | None:
    """Return the path of one of the two archives, or None if it is not on this computer."""
    folders = [folder / "omniglot" for folder in (data_dir(), cache_dir()) if folder is not None]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def find() -> str:
    """Return the paths of both archives joined by "and", or "" if one is not on this computer."""
    paths = [local_archive(name) for name in ARCHIVES]
    return " and ".join(map(str, paths)) if all(paths) else ""


def verify_archives() -> None:
    """Compare both archives with the published ones.

    Raises:
        InputError: an archive differs from the published one, or cannot be downloaded.
    """
    verify([find_archive(name) for name in ARCHIVES])


def verify(paths: list[Path]) -> str:
    """Compare each archive with the published one, and return one SHA-256 for both.

    Raises:
        InputError: an archive differs from the published one.
    """
    digests = []
    for path in paths:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != ARCHIVES[path.name]:
            raise InputError(
                f"{path} has SHA-256 {digest}, but the published archive has {ARCHIVES[path.name]}; "
                "delete the file and fetch it again"
            )
        digests.append(digest)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def split_classes(n_classes: int) -> dict[str, NDArray[np.int64]]:
    """Return the split of the authors' code: a fixed shuffle of the sorted classes, cut at 1150 and 1200.

    Args:
        n_classes: 1,623 for Omniglot; the result depends on it alone.
    """
    order = np.arange(n_classes, dtype=np.int32)
    np.random.RandomState(SPLIT_SEED).shuffle(order)
    train, val, test = np.split(order.astype(np.int64), SPLIT_CUTS)
    return {"train": train, "val": val, "test": test}


def _build(paths: list[Path], image_size: int) -> Build:
    members: Members = {}
    for path in paths:
        for name in _list_pngs(path):
            parts = PurePosixPath(name).parts
            members.setdefault("/".join(parts[-3:-1]), []).append((path, name))
    class_names = sorted(members)
    return Build(
        class_names=class_names,
        counts=[len(members[name]) for name in class_names],
        splits=split_classes(len(class_names)),
        image_shape=(image_size, image_size),
        images=_decode_all([item for name in class_names for item in sorted(members[name])], image_size),
        sha256=lambda: verify(paths),
    )


def _list_pngs(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except BAD_ARCHIVE as error:
        raise _damaged(path, error) from error
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in name:
            raise InputError(f"{path} has a member {name!r} that leaves the archive's folder; delete the file")
    return [name for name in names if name.endswith(".png")]


def _decode_all(items: list[tuple[Path, str]], image_size: int) -> Iterator[NDArray[np.uint8]]:
    with ExitStack() as stack:
        archives = {path: stack.enter_context(zipfile.ZipFile(path)) for path in {path for path, _ in items}}
        for path, name in items:
            try:
                content = archives[path].read(name)  # read it whole, to verify its checksum
            except BAD_ARCHIVE as error:
                raise _damaged(path, error) from error
            yield decode(io.BytesIO(content), f"{name} in {path}", image_size, colour=False, invert=True)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read as a zip archive ({error}); delete it and fetch it again")
