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

from mamlkit.errors import InputError
from mamlkit.files import BAD_ARCHIVE, write_whole
from mamlkit.learner import MetaLearner

FORMAT = 1
HEADER = "header"  # JSON: format, config, epoch, rows


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
    header = {"format": FORMAT, "config": learner.config.to_dict(), "epoch": epoch, "rows": learner.rows}
    arrays: dict[str, Any] = {name: tensor.detach().cpu().numpy() for name, tensor in learner.state().items()}
    stream = io.BytesIO()
    np.savez(stream, **{HEADER: np.array(json.dumps(header)), **arrays})
    write_whole(path, stream.getvalue())


def restore(path: Path, learner: MetaLearner) -> int:
    """Give a learner the tensors of a checkpoint.

    Args:
        path: a file that ``save`` wrote.
        learner: of the same configuration; only ``device`` may differ.

    Returns:
        Epochs of training that are done.

    Raises:
        InputError: the file is damaged, of another version or of another configuration; the learner is unchanged.

    Writes: the learner's tensors.
    """
    header, arrays = _read(path)
    if header["format"] != FORMAT:
        raise InputError(f"{path} has checkpoint format {header['format']}; this version of mamlkit reads {FORMAT}")
    mine = learner.config.to_dict()
    for key in sorted((mine.keys() | header["config"].keys()) - {"device"}):
        ours, theirs = mine.get(key, "absent"), header["config"].get(key, "absent")
        if ours != theirs:
            raise InputError(f"{path} is of another configuration: its {key} is {theirs!r}, and {ours!r} is needed")
    if tuple(header["rows"]) != learner.rows:
        raise InputError(f"{path} has inner rates of {header['rows']}; this network adapts {list(learner.rows)}")
    learner.load_state({name: torch.from_numpy(array) for name, array in arrays.items()})
    return int(header["epoch"])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop(HEADER)))
        missing = {"format", "config", "epoch", "rows"} - set(header)
    except BAD_ARCHIVE as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a whole checkpoint ({reason}); delete it, or restore a copy") from error
    if missing:
        raise InputError(f"{path} is not a checkpoint: its header lacks {', '.join(sorted(missing))}")
    return header, arrays
