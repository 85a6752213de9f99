"""Keep a learner's tensors in one file without code in it: atomic, versioned, and bound to its configuration.

A checkpoint is a ``.safetensors`` file: plain tensors, and one JSON text as its metadata. Older versions wrote NumPy
``.npz`` archives of the same tensors and text; these are still read. Nothing in either is ever executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mamlkit.core.errors import InputError
from mamlkit.core.system.files import BAD_ARCHIVE, why, write_whole
from mamlkit.runs.configurations import differing, read_config
from mamlkit.training.learner import MetaLearner

FORMAT = 1
SUFFIX, OLD_SUFFIX = ".safetensors", ".npz"
HEADER = "header"  # JSON: format, config, epoch, rows, sha256
CHECKSUM = "sha256"  # of the rest of the header and of all tensors; a safetensors file has none of its own


def save(path: Path, learner: MetaLearner, epoch: int) -> None:
    """Write everything that a learner needs to go on exactly where it is.

    Args:
        path: file to write, ending in ``.safetensors``.
        learner: its parameters, inner rates, buffers and Adam's moments are kept.
        epoch: epochs of training that are done.

    Raises:
        InputError: the file cannot be written; then no part of it is left.

    Writes: ``path``, atomically.
    """
    _write(path, _header(learner, epoch), learner.state())


def restore(path: Path, learner: MetaLearner, epoch: int) -> None:
    """Give a learner the tensors of a checkpoint.

    Args:
        path: a file that ``save`` wrote.
        learner: of the same configuration, except for the options that say how a run is computed
            (``mamlkit.runs.configurations.HOW``); an option that the file lacks has its default.
        epoch: epochs of training that must be done in it.

    Raises:
        InputError: the file is missing, damaged, of another version, configuration or epoch; the learner is unchanged.

    Writes: the learner's tensors.
    """
    header, state = read(path)
    if header["format"] != FORMAT:
        raise InputError(f"{path} has checkpoint format {header['format']}; this version of mamlkit reads {FORMAT}")
    for key, (theirs, ours) in differing(read_config(header["config"], path), learner.config).items():
        raise InputError(f"{path} is of another configuration: its {key} is {theirs!r}, and {ours!r} is needed")
    if header["epoch"] != epoch:
        raise InputError(f"{path} is of epoch {header['epoch']}; epoch {epoch} is needed")
    if header["rows"] != list(learner.rows):
        raise InputError(f"{path} has inner rates of {header['rows']}; this network adapts {list(learner.rows)}")
    try:
        learner.load_state(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def save_start(path: Path, learner: MetaLearner, *, about: dict[str, Any], extra: Mapping[str, Tensor]) -> None:
    """Write a learner to adapt from, without Adam's moments; a third of a checkpoint's size.

    Args:
        path: file to write, ending in ``.safetensors``.
        learner: its parameters, inner rates and buffers are kept.
        about: further values of the header, which JSON can hold.
        extra: further tensors by name, which ``read`` returns and ``read_start`` passes over.

    Raises:
        InputError: the file cannot be written; then no part of it is left.

    Writes: ``path``, atomically.
    """
    state = {name: tensor for name, tensor in learner.state().items() if not name.startswith("adam/")}
    _write(path, {**_header(learner, 0), **about}, {**state, **extra})


def read_start(path: Path, image_shape: tuple[int, int, int], *, dtype: str = "float32") -> MetaLearner:
    """Return a learner that ``save_start`` kept.

    Args:
        path: the file.
        image_shape: (C, H, W) that it was trained on.
        dtype: ``"float32"`` or ``"float64"``.

    Raises:
        InputError: the file is missing or damaged, or not of this network.
    """
    header, state = read(path)
    config = dataclasses.replace(read_config(header["config"], path), dtype=dtype)
    learner = MetaLearner.from_config(config, image_shape)
    mine = learner.state().keys()
    learner.load_state({name: value for name, value in state.items() if name in mine})
    return learner


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the tensors, by name, of a file that ``save`` or ``save_start`` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    if not path.is_file():
        raise InputError(f"the checkpoint {path} is missing; restore a copy of it, or train again")
    try:
        content = path.read_bytes()
        header, state = _read_npz(content) if content.startswith(b"PK") else _read_safetensors(content)
    except (*BAD_ARCHIVE, SafetensorError) as error:
        raise InputError(f"{path} is not a whole checkpoint ({why(error)}); delete it, or restore a copy") from error
    kinds = {"format": int, "config": dict, "epoch": int, "rows": list}
    wrong = [key for key, kind in kinds.items() if not (isinstance(header, dict) and isinstance(header.get(key), kind))]
    if wrong:
        raise InputError(f"{path} is not a checkpoint: its header's {', '.join(wrong)} is missing or of another type")
    return header, state


def find(folder: Path, name: str) -> Path:
    """Return the path of a checkpoint by its name without suffix; of both formats the newer."""
    path, old = folder / f"{name}{SUFFIX}", folder / f"{name}{OLD_SUFFIX}"
    return old if old.is_file() and not path.is_file() else path


def _header(learner: MetaLearner, epoch: int) -> dict[str, Any]:
    return {"format": FORMAT, "config": learner.config.to_dict(), "epoch": epoch, "rows": learner.rows}


def _write(path: Path, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    # Copies: safetensors takes no tensors that share memory, and none that are not contiguous.
    own = {name: x.detach().cpu().clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}
    text = json.dumps({**header, CHECKSUM: _checksum(header, own)})
    try:
        content = safetensors.torch.save(own, {HEADER: text})
    except KeyError as error:
        raise InputError(f"cannot write {path}: it has no place for a tensor of {error}") from error
    write_whole(path, content)


def _read_safetensors(content: bytes) -> tuple[Any, dict[str, Tensor]]:
    state = safetensors.torch.load(content)  # checks the file's own table, which ``load`` does not return
    table = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    header = json.loads(table.get("__metadata__", {}).get(HEADER, "{}"))
    if not isinstance(header, dict) or header.pop(CHECKSUM, None) != _checksum(header, state):
        raise ValueError("its checksum is missing or wrong")
    return header, state


def _read_npz(content: bytes) -> tuple[Any, dict[str, Tensor]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays.pop(HEADER)))
    return header, {name: torch.from_numpy(array) for name, array in arrays.items()}


def _checksum(header: dict[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
