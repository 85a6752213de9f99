"""The folders that Jupyter writes; a temporary folder takes the place of those that cannot be written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mamlkit.core.system.imports import Lazy

paths = Lazy("jupyter_core.paths")
FUNCTIONS = {  # environment variable -> the function that returns its folder
    "JUPYTER_RUNTIME_DIR": "jupyter_runtime_dir",
    "JUPYTER_DATA_DIR": "jupyter_data_dir",
    "JUPYTER_CONFIG_DIR": "jupyter_config_dir",
}


def unwritable() -> dict[str, Path]:
    """Return Jupyter's folders in which no file can be made, by environment variable.

    A folder that does not exist yet is made.
    """
    found = {name: Path(getattr(paths, function)()) for name, function in FUNCTIONS.items()}
    found["IPYTHONDIR"] = Path(os.path.expanduser(os.environ.get("IPYTHONDIR") or "~/.ipython"))
    return {name: folder for name, folder in found.items() if not _can_write(folder)}


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def writable_folders() -> Iterator[str]:
    """Give Jupyter a temporary folder for each of its folders that cannot be written; yield a sentence about it.

    The sentence is empty if all folders can be written.

    Writes: the environment variables of this process, until the end.
    """
    missing = unwritable()
    if not missing:
        yield ""
        return
    before = {name: os.environ.get(name) for name in missing}
    with tempfile.TemporaryDirectory(prefix="mamlkit-jupyter-", ignore_cleanup_errors=True) as place:
        os.environ.update({name: os.path.join(place, name.lower()) for name in missing})
        try:
            where = ", ".join(str(folder) for folder in missing.values())
            yield f"Jupyter cannot write to {where}; until the end it uses {place} instead, and forgets its settings."
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
