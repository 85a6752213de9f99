"""Results of earlier training that ship with the package: starts to adapt from, and short runs to compare.

All files here are written by ``python data/build_stored.py``, ``python data/build_extend.py`` and
``python data/build_drawing_starts.py``. They contain no code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError, check_choice
from mamlkit.runs import checkpoints
from mamlkit.runs.checkpoints import OLD_SUFFIX, SUFFIX
from mamlkit.runs.configurations import read_config
from mamlkit.training.learner import MetaLearner

HERE = Path(__file__).parent
RUNS = HERE / "runs.jsonl"
COMPARISON = HERE / "comparison.jsonl"
STARTS = HERE / "starts"
IMAGE = (1, 28, 28)  # of glyphs and Omniglot


def start_names() -> tuple[str, ...]:
    """Return the names of the stored starts."""
    return tuple(sorted(path.stem for path in STARTS.iterdir() if path.suffix in (SUFFIX, OLD_SUFFIX)))


def start(name: str, *, dtype: str = "float32") -> MetaLearner:
    """Return a meta-trained learner, a ``Conv4`` for 28 x 28 pictures.

    Args:
        name: one of ``start_names()``: 5-way 1-shot on glyphs with 16 filters; or, for names beginning with
            ``drawings-``, 20-way 1-shot on traced and redrawn characters (``mamlkit.datasets.drawings``) with 32
            filters.
        dtype: precision of the learner, ``"float32"`` as it was trained, or ``"float64"``.

    Raises:
        InputError: there is no such start.
    """
    check_choice("start", name, start_names())
    return checkpoints.read_start(checkpoints.find(STARTS, name), IMAGE, dtype=dtype)


def rate_history(name: str) -> NDArray[np.float32]:
    """Return the inner rates of a stored start before its training and after each epoch: [E + 1, n_adapted, K].

    Raises:
        InputError: there is no such start, or it has no stored inner rates.
    """
    check_choice("start", name, start_names())
    _, tensors = checkpoints.read(checkpoints.find(STARTS, name))
    if "rate_history" not in tensors:
        raise InputError(f"start {name!r} has no stored inner rates")
    rates: NDArray[np.float32] = tensors["rate_history"].numpy()
    return rates


def runs(**wanted: Any) -> list[dict[str, Any]]:
    """Return the stored runs that have all given values.

    Each run has ``group``, ``fixes`` (a sorted list), ``changes`` (other differences from plain MAML), ``seed``, and
    the measurements: ``val``, ``val_ci95``, ``grad_norm`` (median) and ``grad_norm_max`` by epoch, ``test``,
    ``test_ci95``, ``running`` (test accuracy with recorded statistics), ``running_ci95``, ``nonfinite``.

    >>> len({tuple(run["fixes"]) for run in runs(group="switchboard")})
    32
    """
    return _runs(RUNS, wanted)


def about_runs() -> dict[str, Any]:
    """Return the data common to stored runs: ``config`` of plain MAML, test ``episodes``, ``versions``, ``command``."""
    return _about(RUNS)


def base_config() -> Config:
    """Return the base configuration of the stored runs, plain MAML."""
    return read_config(about_runs()["config"], RUNS)


def comparison(**wanted: Any) -> list[dict[str, Any]]:
    """Return the runs that compare methods and strengths of inner weight decay, and that have all given values.

    Each run has ``recipe``, ``changes`` (other differences from plain MAML), ``seed``, ``test``, ``test_ci95``,
    ``running`` (test accuracy with recorded statistics) and ``running_ci95``. Runs of one seed have the same test
    episodes.

    >>> {run["recipe"] for run in comparison(seed=0, changes={})} >= {"maml", "maml+wd", "protonet"}
    True
    """
    return _runs(COMPARISON, wanted)


def about_comparison() -> dict[str, Any]:
    """Return the data common to these runs: ``config`` of plain MAML, ``episodes``, ``versions``, ``command``."""
    return _about(COMPARISON)


def _runs(path: Path, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    lines = path.read_text("utf-8").splitlines()[1:]
    return [run for run in map(json.loads, lines) if all(run[key] == value for key, value in wanted.items())]


def _about(path: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(path.read_text("utf-8").splitlines()[0])
    return about
