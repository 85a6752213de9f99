"""A lock on a folder that only one program at a time may write; it ends with the program, even after a crash."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from mamlkit.core.errors import InputError

NAME = ".lock"


def lock(folder: Path, who: str, *, seconds: float = 0.0) -> AcquireReturnProxy[FileLock]:
    """Lock a folder for this program, until the lock is released or garbage-collected, or the program ends.

    Args:
        folder: created if missing.
        who: the possible other owner, for the error sentence.
        seconds: longest wait for the other owner; negative: without limit.

    Returns:
        The lock; keep a reference to it, or use it in a ``with`` statement. This program may take it several times.

    Raises:
        InputError: another program holds the lock, or the folder cannot be written.

    Writes: ``.lock`` in the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / NAME, is_singleton=True).acquire(timeout=seconds, poll_interval=0.2)
    except Timeout as error:
        raise InputError(
            f"{folder} is being written by another {who}; wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise InputError(f"cannot write {folder} ({error.strerror}); choose another folder") from error


def lock_for(owner: object, folder: Path, who: str, *, seconds: float = 0.0) -> Callable[[], object]:
    """Lock a folder for an object of this program, and return the function that releases the lock.

    The lock is also released when the object is garbage-collected or the program ends, before temporary folders that
    existed earlier are deleted: Windows does not delete an open file.

    Args:
        owner: the object.
        folder, who, seconds: see ``lock``.

    Raises:
        InputError: see ``lock``.

    Writes: ``.lock`` in the folder.
    """
    return weakref.finalize(owner, lock(folder, who, seconds=seconds).lock.release)
