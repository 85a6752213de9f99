"""Convert between named tensors and the packed vectors of ``mamlkit.engines.closed_form``; letters as there.

All conversions are linear and keep every number, so derivatives are packed and unpacked like their tensors.
``P`` packed tensors, ``D`` packed numbers of a chunk, ``K`` inner steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamlkit.core.networks import Conv4
from mamlkit.core.transforms import Params
from mamlkit.engines.closed_form import STAGES, Shape


def shape_of(model: Conv4, params: Params, images: Tensor) -> Shape:
    """Return the shape of a network with ``params`` and of a chunk's ``images`` [G, B, C, H, W]."""
    n_way, filters = params["head.bias"].shape[0], params["convs.0.bias"].shape[0]
    n_tasks, n_images, channels, size, _ = images.shape
    dtype = str(images.dtype).removeprefix("torch.")
    return Shape(n_tasks, n_images, n_way, channels, size, filters, model.max_pool, dtype)


def pack(shape: Shape, params: Params) -> Tensor:
    """Return ``params`` as the packed weights [D] of every task; without batch norm and the convolutions' biases."""
    tasks = (shape.n_tasks, -1)
    return torch.cat([_inwards(shape, name, params[name]).expand(tasks).flatten() for name in shape.tensors])


def unpack_sum(shape: Shape, vector: Tensor) -> Params:
    """Return the tensors of a packed vector, summed over tasks, by name."""
    return {name: _outwards(shape, name, part.sum(0)) for name, part in zip(shape.tensors, shape.unpack(vector))}


def unpack_tasks(shape: Shape, vector: Tensor) -> list[Params]:
    """Return the tensors of a packed vector for each task, by name."""
    parts = dict(zip(shape.tensors, shape.unpack(vector)))
    return [{name: _outwards(shape, name, part[g]) for name, part in parts.items()} for g in range(shape.n_tasks)]


def norms(params: Params, step: int) -> tuple[Tensor, Tensor]:
    """Return batch norm's weights and biases at an inner step, [L, F] each."""
    tables = ([params[f"norms.{i}.{kind}"] for i in range(len(STAGES))] for kind in ("weight", "bias"))
    gamma, beta = (torch.stack([t[step] if t.dim() == 2 else t for t in rows]) for rows in tables)
    return gamma, beta


def rates(shape: Shape, inner_lrs: Tensor, names: Sequence[str], n_steps: int) -> Tensor:
    """Return the rates of each packed tensor, [K, P], from the rows of the tensors that adapt; 0 for the others."""
    none = torch.zeros_like(inner_lrs[0, :n_steps])
    rows = [inner_lrs[names.index(name), :n_steps] if name in names else none for name in shape.tensors]
    return torch.stack(rows, 1)


def unpack_norms(params: Params, gamma: Tensor, beta: Tensor) -> Params:
    """Return derivatives [K, L, F] by name, in the shapes of ``params``; summed over steps if these share a row."""
    found = {}
    for kind, table in (("weight", gamma), ("bias", beta)):
        for i, rows in enumerate(table.unbind(1)):  # [K, L, F] -> L x [K, F]
            name = f"norms.{i}.{kind}"
            if params[name].dim() == 1:
                found[name] = rows.sum(0)
            else:
                found[name] = torch.cat([rows, torch.zeros_like(params[name][len(rows) :])])
    return found


def scale(shape: Shape, vector: Tensor, rates: Tensor) -> Tensor:
    """Return a packed vector with each tensor times its own rate [P]; with rate 0 it becomes 0, whatever it holds."""
    parts = zip(torch.split(vector, shape.sizes), rates)
    return torch.cat([torch.where(rate == 0, 0.0, part * rate) for part, rate in parts])


def products(shape: Shape, a: Tensor, b: Tensor) -> Tensor:
    """Return the scalar products of the packed tensors of ``a`` and ``b``, summed over tasks, [P]."""
    return torch.stack([torch.dot(*pair) for pair in zip(torch.split(a, shape.sizes), torch.split(b, shape.sizes))])


def task_norms(shape: Shape, vector: Tensor) -> Tensor:
    """Return the l2 norm of each packed tensor, per task: [P, G]."""
    return torch.stack([part.flatten(1).norm(dim=1) for part in shape.unpack(vector)])


def _inwards(shape: Shape, name: str, w: Tensor) -> Tensor:
    if name == "head.weight":  # the packed head has the order [H, W, F], the network's [F, H, W]
        w = torch.unflatten(w, 1, (shape.filters, shape.side, shape.side)).permute(0, 2, 3, 1)
    elif name.startswith("convs.") and name != "convs.0.weight":
        w = w.permute(0, 2, 3, 1)  # [F, C, 3, 3] -> [F, 3, 3, C]
    return w.flatten()


def _outwards(shape: Shape, name: str, w: Tensor) -> Tensor:
    if name == "head.weight":
        return torch.unflatten(w, 1, (shape.side, shape.side, shape.filters)).permute(0, 3, 1, 2).flatten(1)
    if name == "convs.0.weight":
        return torch.unflatten(w, 1, (shape.channels, 3, 3))
    return w.permute(0, 3, 1, 2) if name.startswith("convs.") else w
