"""A folder that one program at a time may write; the lock ends with the program, however that ends."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from mamlkit.core.errors import InputError

NAME = ".lock"


def lock(folder: Path, who: str, *, seconds: float = 0.0) -> AcquireReturnProxy[FileLock]:
    """Take a folder for this program, until the lock is released, forgotten, or the program ends.

    Args:
        folder: made when missing.
        who: what else may hold it, for the error.
        seconds: how long to wait for another one to end; less than 0: as long as it takes.

    Returns:
        The lock, to be held on to, or for a ``with``. Where this program has it already, it is taken once more.

    Raises:
        InputError: another program has it.

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
    """Take a folder for an object of this program, and return the function that releases it.

    It is released by itself when the object is forgotten or the program ends, before temporary folders are deleted
    that were there already: Windows does not delete a file that is open.

    Args:
        owner: the object.
        folder, who, seconds: see ``lock``.

    Raises:
        InputError: another program has it.

    Writes: ``.lock`` in the folder.
    """
    return weakref.finalize(owner, lock(folder, who, seconds=seconds).lock.release)
