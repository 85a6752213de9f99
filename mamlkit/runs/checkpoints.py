"""Keep a learner's tensors in one file without code in it: atomic, versioned, and bound to its configuration.

A checkpoint is a NumPy ``.npz`` archive of plain arrays and one JSON text. Nothing in it is ever executed.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import BAD_ARCHIVE, why, write_whole
from mamlkit.training.learner import MetaLearner

FORMAT = 1
HEADER = "header"  # JSON: format, config, epoch, rows
# Options that say how a run is computed and not what.
HOW = {"device", "engine", "tasks_per_chunk", "memory"}


def save(path: Path, learner: MetaLearner, epoch: int) -> None:
    """Write everything that a learner needs to go on exactly where it is.

    Args:
        path: file to write, ending in ``.npz``.
        learner: its parameters, inner rates, buffers and Adam's moments are kept.
        epoch: epochs of training that are done.

    Raises:
        InputError: the file cannot be written; then no part of it is left.

    Writes: ``path``, atomically.
    """
    header = _header(learner, epoch)
    arrays: dict[str, Any] = {name: tensor.detach().cpu().numpy() for name, tensor in learner.state().items()}
    stream = io.BytesIO()
    np.savez(stream, **{HEADER: np.array(json.dumps(header)), **arrays})
    write_whole(path, stream.getvalue())


def restore(path: Path, learner: MetaLearner, epoch: int) -> None:
    """Give a learner the tensors of a checkpoint.

    Args:
        path: a file that ``save`` wrote.
        learner: of the same configuration, except for what says how it is computed and not what (``HOW``).
        epoch: epochs of training that must be done in it.

    Raises:
        InputError: the file is missing, damaged, of another version, configuration or epoch; the learner is unchanged.

    Writes: the learner's tensors.
    """
    header, state = _read(path)
    if header["format"] != FORMAT:
        raise InputError(f"{path} has checkpoint format {header['format']}; this version of mamlkit reads {FORMAT}")
    mine = learner.config.to_dict()
    for key in sorted((mine.keys() | header["config"].keys()) - HOW):
        ours, theirs = mine.get(key, "absent"), header["config"].get(key, "absent")
        if ours != theirs:
            raise InputError(f"{path} is of another configuration: its {key} is {theirs!r}, and {ours!r} is needed")
    if header["epoch"] != epoch:
        raise InputError(f"{path} is of epoch {header['epoch']}; epoch {epoch} is needed")
    if header["rows"] != list(learner.rows):
        raise InputError(f"{path} has inner rates of {header['rows']}; this network adapts {list(learner.rows)}")
    try:
        learner.load_state(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def save_start(path: Path, learner: MetaLearner, *, about: dict[str, Any], extra: dict[str, Any]) -> None:
    """Write a learner to adapt from, without Adam's moments; a quarter of a checkpoint's size.

    Args:
        path: file to write, ending in ``.npz``.
        learner: its parameters, inner rates and buffers are kept.
        about: further values of the header, which JSON can hold.
        extra: further arrays by name, which ``read_start`` passes over.

    Raises:
        InputError: the file cannot be written; then no part of it is left.

    Writes: ``path``, atomically.
    """
    header = {**_header(learner, 0), **about}
    state = {name: tensor.cpu().numpy() for name, tensor in learner.state().items() if not name.startswith("adam/")}
    arrays: dict[str, Any] = {HEADER: np.array(json.dumps(header)), **state, **extra}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    write_whole(path, stream.getvalue())


def read_start(path: Path, image_shape: tuple[int, int, int], *, dtype: str = "float32") -> MetaLearner:
    """Return a learner that ``save_start`` kept.

    Args:
        path: the file.
        image_shape: (C, H, W) that it was trained on.
        dtype: ``"float32"`` or ``"float64"``.

    Raises:
        InputError: the file is missing or damaged, or not of this network.
    """
    header, state = _read(path)
    learner = MetaLearner.from_config(Config.from_dict({**header["config"], "dtype": dtype}), image_shape)
    mine = learner.state().keys()
    learner.load_state({name: value for name, value in state.items() if name in mine})
    return learner


def _header(learner: MetaLearner, epoch: int) -> dict[str, Any]:
    return {"format": FORMAT, "config": learner.config.to_dict(), "epoch": epoch, "rows": learner.rows}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(f"the checkpoint {path} is missing; restore a copy of it, or train again")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop(HEADER)))
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    except BAD_ARCHIVE as error:
        raise InputError(f"{path} is not a whole checkpoint ({why(error)}); delete it, or restore a copy") from error
    kinds = {"format": int, "config": dict, "epoch": int, "rows": list}
    wrong = [key for key, kind in kinds.items() if not (isinstance(header, dict) and isinstance(header.get(key), kind))]
    if wrong:
        raise InputError(f"{path} is not a checkpoint: its header's {', '.join(wrong)} is missing or of another type")
    return header, state
