"""The cache folder, atomic writes with a clear error sentence, and the errors of damaged archives."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from mamlkit.core.errors import InputError

# Exceptions of zipfile and numpy.load for an archive that is damaged, truncated or a file of another kind.
BAD_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
REPLACE_TRIES, REPLACE_WAIT = 10, 0.05  # seconds between two tries


def cache_dir() -> Path:
    """Return the folder of caches and downloads: ``$MAMLKIT_CACHE``, or else the user's cache folder."""
    value = os.environ.get("MAMLKIT_CACHE", "")
    return Path(os.path.expanduser(value) or user_cache_dir("mamlkit"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: it is complete or absent, even if the program is stopped in between.

    Raises:
        InputError: the file cannot be written, for example on a full disk; no part of it is left.

    Writes: ``path``, and its folder if that is missing.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except OSError as error:
        discard(temporary)
        raise _unwritable(path, error) from error


def replace(source: Path, target: Path) -> None:
    """Rename a file over another; wait up to half a second for readers, because Windows does not replace an open file.

    Raises:
        OSError: the file cannot be renamed, or another program keeps the target open.

    Writes: ``target``; ``source`` no longer exists.
    """
    for _ in range(REPLACE_TRIES - 1):
        with contextlib.suppress(PermissionError):
            os.replace(source, target)
            return
        time.sleep(REPLACE_WAIT)
    os.replace(source, target)


def check_writable(path: Path) -> None:
    """Raise if a file cannot be written, before time is spent on its content.

    Raises:
        InputError: the folder of ``path`` cannot be created or is not writable, or ``path`` is a folder.

    Writes: the folder of ``path``, if it is missing.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; give the name of a file")


def append_whole(path: Path, content: bytes) -> None:
    """Append to a file; after a failure, restore its earlier content.

    Raises:
        InputError: the file cannot be written, for example on a full disk.

    Writes: ``path``.
    """
    size = path.stat().st_size if path.is_file() else None
    try:
        with open(path, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if size is None:
            discard(path)
        else:
            os.truncate(path, size)
        raise _unwritable(path, error) from error


def dump_json(value: Any, indent: int | None = None) -> bytes:
    """Return a value as JSON, with null for non-finite numbers: JSON has no NaN.

    >>> dump_json({"loss": float("nan")})
    b'{"loss": null}'
    """
    return json.dumps(_plain(value), indent=indent, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def why(error: Exception) -> str:
    """Return an error's message on one line, without NumPy's advice to run code from a file."""
    return " ".join(str(error).split()).split(" If you trust")[0].rstrip(".")


def discard(path: Path) -> None:
    """Delete a file if possible; Windows keeps a file that a program has open or mapped."""
    with contextlib.suppress(OSError):  # also if its folder is a file or not writable
        path.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot write {path} ({error.strerror}); make room there, or choose another folder")
