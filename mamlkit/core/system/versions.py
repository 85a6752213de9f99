"""Versions and properties of the machine that may change a result."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import torch

GIT = ("git", "-C", str(Path(__file__).parent))


def versions() -> dict[str, str]:
    """Return the factors besides the configuration that may change a result: versions, commit, platform, threads."""
    packages = {name: importlib.metadata.version(name) for name in ("mamlkit", "torch", "numpy")}
    machine = f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads"
    return {"python": platform.python_version(), **packages, "commit": _commit(), "machine": machine}


def _commit() -> str:
    """Return the git commit of the library's source, with "-dirty" after changes; or a note that it has none."""
    try:
        ours = subprocess.run([*GIT, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        if ours.returncode == 0:
            describe = [*GIT, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
            return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return "none: not a clone"
