"""Adapt and answer, without a trace: the query logits of evaluation, from the compiled support gradient alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mamlkit.core.chunks import side_by_side, split
from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import MetaParams, Params, adapted_names, check_rates
from mamlkit.core.networks import Conv4
from mamlkit.core.schedules import StepConfig
from mamlkit.engines import packing
from mamlkit.engines.adjoint import Make
from mamlkit.engines.first_stage import Patches


def query_logits(
    model: Conv4,
    meta: MetaParams,
    buffers: Params,
    batch: Episode,
    configs: Sequence[StepConfig],
    *,
    make: Make,
    tasks_per_chunk: int,
) -> Tensor:
    """Return the query logits after the last inner step, [M, T, Q, N], as the trace of ``run_tasks`` has them.

    Args:
        model, meta, buffers, batch: see ``mamlkit.core.outer_loop.meta_gradient``.
        configs: M settings that differ in what normalises the query pass alone.
        make: gives the functions for the shape of a chunk's support images.
        tasks_per_chunk: tasks adapted at once; T is a multiple of it.

    Raises:
        InputError: see ``mamlkit.core.inner_loop.adapt``.

    Pure: no argument is changed.
    """
    config = configs[0]
    names, n_steps = adapted_names(model, config.adapt), len(config.loss_weights)
    check_rates(names, meta.inner_lrs, n_steps)

    def answer(own: nn.Module, tasks: Episode) -> Tensor:
        shape = packing.shape_of(model, meta.model, tasks.support_x)
        gradient, patches = make(shape, shape).support, Patches.of(tasks.support_x, shape.stride)
        theta = packing.pack(shape, meta.model)
        for k in range(n_steps):
            slope = gradient(theta, packing.norms(meta.model, k), patches, tasks.support_y).theta
            theta = theta - packing.scale(shape, slope, dict(zip(names, meta.inner_lrs[:, k])))
        logits = []
        for adapted, x in zip(packing.unpack_tasks(shape, theta), tasks.query_x):
            weights = {**meta.model, **adapted}
            passes = ((x, n_steps - 1, config.norm) for config in configs)
            answers = [functional_call(own, (weights, buffers), inputs, strict=True)[0] for inputs in passes]
            logits.append(torch.stack(answers))
        return torch.stack(logits, 1)  # T x [M, Q, N] -> [M, T, Q, N]

    with torch.no_grad():
        return torch.cat([*side_by_side(answer, model, split(batch, tasks_per_chunk))], 1)
