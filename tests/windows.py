"""What differs on Windows, for a process on Linux: a file in use, open or mapped, is neither replaced nor deleted."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = ("replace", "unlink", "remove")


def is_in_use(path: Path) -> bool:
    """Return whether this process has a file open or mapped."""
    opened = [descriptor for descriptor in Path("/proc/self/fd").iterdir() if descriptor.is_symlink()]
    mapped = Path("/proc/self/maps").read_text("utf-8")
    return any(os.readlink(descriptor) == str(path) for descriptor in opened) or f" {path}\n" in mapped


def refusing(call: Callable[..., None]) -> Callable[..., None]:
    """Return ``os.replace`` or ``os.unlink`` as Windows has it; the last path is the one that would go."""

    def refuse(*paths: Any, dir_fd: int | None = None, **options: Any) -> None:
        folder = Path.cwd() if dir_fd is None else Path(os.readlink(f"/proc/self/fd/{dir_fd}"))
        for path in paths:
            if is_in_use(folder / Path(path)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        call(*paths, **options, **({} if dir_fd is None else {"dir_fd": dir_fd}))

    return refuse


def patched() -> dict[str, Callable[..., None]]:
    """Return the calls of ``os`` to put in place of its own, by name."""
    return {name: refusing(getattr(os, name)) for name in CALLS}
