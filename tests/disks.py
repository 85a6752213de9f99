"""Small and read-only disks for tests."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(folder: Path, option: str) -> Iterator[Path]:
    """Make a folder that is a file system of its own in memory, such as ``size=200k`` or ``ro``; skip without root."""
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", folder], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip(f"mounting a file system with {option} needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
