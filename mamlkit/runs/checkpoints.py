"""Store a learner's tensors in one file: atomic, versioned, tied to its configuration, and free of code.

A checkpoint is a ``.safetensors`` file with plain tensors and one JSON text as metadata. Older versions wrote NumPy
``.npz`` archives of the same tensors and text; these are still read. Loading never executes code from either format.
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
CHECKSUM = "sha256"  # of the rest of the header and of all tensors; the safetensors format has no checksum


def save(path: Path, learner: MetaLearner, epoch: int) -> None:
    """Write all tensors that a learner needs to continue exactly from its present state.

    Args:
        path: the file, ending in ``.safetensors``.
        learner: its parameters, inner rates, buffers and Adam moments are stored.
        epoch: number of finished training epochs.

    Raises:
        InputError: the file cannot be written; no partial file is left.

    Writes: ``path``, atomically.
    """
    _write(path, _header(learner, epoch), learner.state())


def restore(path: Path, learner: MetaLearner, epoch: int) -> None:
    """Load a checkpoint into a learner.

    Args:
        path: a file written by ``save``.
        learner: must have the same configuration, except for ``mamlkit.runs.configurations.HOW``, the options that only
            change how a run is computed; an option that the file lacks has its default value.
        epoch: number of finished training epochs that the file must have.

    Raises:
        InputError: the file is missing or damaged, or has another version, configuration or epoch; the learner is
            unchanged.

    Writes: the learner's tensors.
    """
    header, state = read(path)
    if header["format"] != FORMAT:
        raise InputError(f"{path} has checkpoint format {header['format']}; this version of mamlkit reads {FORMAT}")
    for key, (theirs, ours) in differing(read_config(header["config"], path), learner.config).items():
        raise InputError(f"{path} has another configuration: its {key} is {theirs!r}, and {ours!r} is needed")
    if header["epoch"] != epoch:
        raise InputError(f"{path} has epoch {header['epoch']}; epoch {epoch} is needed")
    if header["rows"] != list(learner.rows):
        raise InputError(f"{path} has inner rates of {header['rows']}; this network adapts {list(learner.rows)}")
    try:
        learner.load_state(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def save_start(path: Path, learner: MetaLearner, *, about: dict[str, Any], extra: Mapping[str, Tensor]) -> None:
    """Write a start without Adam's moments; it has a third of a checkpoint's size.

    Args:
        path: the file, ending in ``.safetensors``.
        learner: its parameters, inner rates and buffers are stored.
        about: additional header values, JSON-serialisable.
        extra: additional tensors by name; ``read`` returns them, ``read_start`` ignores them.

    Raises:
        InputError: the file cannot be written; no partial file is left.

    Writes: ``path``, atomically.
    """
    state = {name: tensor for name, tensor in learner.state().items() if not name.startswith("adam/")}
    _write(path, {**_header(learner, 0), **about}, {**state, **extra})


def read_start(path: Path, image_shape: tuple[int, int, int], *, dtype: str = "float32") -> MetaLearner:
    """Load a learner from a file written by ``save_start``.

    Args:
        path: the file.
        image_shape: (C, H, W) of the training images.
        dtype: ``"float32"`` or ``"float64"``.

    Raises:
        InputError: the file is missing or damaged, or belongs to another network.
    """
    header, state = read(path)
    config = dataclasses.replace(read_config(header["config"], path), dtype=dtype)
    learner = MetaLearner.from_config(config, image_shape)
    mine = learner.state().keys()
    learner.load_state({name: value for name, value in state.items() if name in mine})
    return learner


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header of a checkpoint or start, and its tensors by name.

    Raises:
        InputError: the file is missing or damaged.
    """
    if not path.is_file():
        raise InputError(f"the checkpoint {path} is missing; restore a copy of it, or train again")
    try:
        content = path.read_bytes()
        header, state = _read_npz(content) if content.startswith(b"PK") else _read_safetensors(content)
    except (*BAD_ARCHIVE, SafetensorError) as error:
        raise InputError(f"{path} is not a complete checkpoint ({why(error)}); delete it, or restore a copy") from error
    kinds = {"format": int, "config": dict, "epoch": int, "rows": list}
    wrong = [key for key, kind in kinds.items() if not (isinstance(header, dict) and isinstance(header.get(key), kind))]
    if wrong:
        raise InputError(f"{path} is not a checkpoint: its header's {', '.join(wrong)} is missing or has another type")
    return header, state


def find(folder: Path, name: str) -> Path:
    """Return the path of a checkpoint by its name without suffix; if both formats exist, the newer format."""
    path, old = folder / f"{name}{SUFFIX}", folder / f"{name}{OLD_SUFFIX}"
    return old if old.is_file() and not path.is_file() else path


def _header(learner: MetaLearner, epoch: int) -> dict[str, Any]:
    return {"format": FORMAT, "config": learner.config.to_dict(), "epoch": epoch, "rows": learner.rows}


def _write(path: Path, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    # Copy: safetensors rejects tensors that share memory or are not contiguous.
    own = {name: x.detach().cpu().clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}
    text = json.dumps({**header, CHECKSUM: _checksum(header, own)})
    try:
        content = safetensors.torch.save(own, {HEADER: text})
    except KeyError as error:
        raise InputError(f"cannot write {path}: the format cannot store the dtype {error}") from error
    write_whole(path, content)


def _read_safetensors(content: bytes) -> tuple[Any, dict[str, Tensor]]:
    state = safetensors.torch.load(content)  # also checks the file's own header, which ``load`` does not return
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
