"""Record the origin of a run's own network, and find the network again from any folder."""

from __future__ import annotations

import functools
import hashlib
import logging
import sys
from pathlib import Path
from typing import Any

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.problem import Problem
from mamlkit.core.system.imports import load_by_name

log = logging.getLogger("mamlkit")
KEYS = ("file", "folder", "sha256")


def allow(folder: str) -> None:
    """Allow imports from a folder, with the lowest priority.

    Writes: ``sys.path``.
    """
    if folder not in sys.path:
        sys.path.append(folder)


def describe(config: Config, problem: Problem | None) -> dict[str, Any]:
    """Return the data needed to find a run's network again; empty for a network of mamlkit.

    Args:
        config: the configuration of the run; its ``backbone`` may be ``"module:function"``.
        problem: the problem passed to the run, or None.

    Raises:
        InputError: the module of ``backbone`` cannot be imported.
    """
    if problem is not None:
        kind = type(problem.network)
        parts = {name: _name(getattr(problem, name)) for name in ("loss", "metric")}
        return {"handed": {"network": f"{kind.__module__}.{kind.__qualname__}", "rule": repr(problem.rule), **parts}}
    if ":" not in config.backbone:
        return {}
    load_by_name(config.backbone)
    name = config.backbone.partition(":")[0]
    file = Path(str(sys.modules[name].__file__)).resolve()
    depth = name.count(".") + (file.name == "__init__.py")
    return {"file": str(file), "folder": str(file.parents[depth]), "sha256": _sha256(file)}


def find(origin: Any, config: Config, run: Path) -> None:
    """Make the network of a run importable; warn if its file has changed.

    Args:
        origin: the return value of ``describe`` from the start of the run, as read from a file.
        config: the configuration of the run.
        run: the folder of the run, for messages.

    Raises:
        InputError: the module or function is not found, or another module of the same name is; or the network was
            passed by the caller and must be passed again.

    Writes: ``sys.path``.
    """
    origin = origin if isinstance(origin, dict) else {}
    if "handed" in origin:
        raise InputError(
            f"{run} was given its problem ({origin['handed']['network']}); pass it again: RunFolder.open(path, problem)"
        )
    if ":" not in config.backbone:
        return
    missing = [key for key in KEYS if not isinstance(origin.get(key), str)]
    if missing:
        raise InputError(
            f"{run} does not say where its network {config.backbone!r} is: {', '.join(missing)} is missing"
        )
    allow(origin["folder"])
    try:
        load_by_name(config.backbone)
    except InputError as error:
        raise InputError(f"{run} was trained with a network of {origin['file']}, but {error}") from error
    file = Path(str(sys.modules[config.backbone.partition(":")[0]].__file__)).resolve()
    if _sha256(file) != origin["sha256"]:
        if str(file) != origin["file"] and Path(origin["file"]).is_file():
            raise InputError(
                f"{run} was trained with a network of {origin['file']}, but here {config.backbone!r} is in {file}; "
                "start from another folder, or change PYTHONPATH"
            )
        _say_changed(file, run)


@functools.cache
def _say_changed(file: Path, run: Path) -> None:
    """Warn once, however often the network of the run is needed."""
    log.warning("%s has changed since %s began: the network may differ", file, run)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _name(function: object) -> str:
    return getattr(function, "__name__", repr(function))
