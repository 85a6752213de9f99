"""The query logits of evaluation, without a trace, from compiled inner steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from mamlkit.core.chunks import side_by_side, split
from mamlkit.core.episodes import Episode
from mamlkit.core.networks import Conv4
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig
from mamlkit.core.transforms import Params
from mamlkit.engines import packing
from mamlkit.engines.adjoint import Make
from mamlkit.engines.first_stage import Patches


def query_logits(
    problem: Problem,
    meta: MetaParams,
    buffers: Params,
    batch: Episode,
    steps: Sequence[StepConfig],
    *,
    make: Make,
    tasks_per_chunk: int,
) -> Tensor:
    """Return the query logits after the last inner step, [M, T, Q, N], as in the trace of ``run_tasks``.

    Args:
        problem, meta, buffers, batch: see ``mamlkit.core.outer_loop.meta_gradient``.
        steps: M settings that differ only in the statistics of the query pass.
        make: returns the functions for the shape of a chunk's support images.
        tasks_per_chunk: tasks adapted at once; T is a multiple of it.

    Raises:
        InputError: see ``mamlkit.core.inner_loop.adapt``.
    """
    names, n_steps = problem.adapted, len(steps[0].loss_weights)
    problem.need_rule.check(meta.rule, names, n_steps)

    def answer(own: Problem, tasks: Episode) -> Tensor:
        shape = packing.shape_of(cast(Conv4, own.network), meta.model, tasks.support_x)
        inner_step, patches = make(shape, shape).support, Patches.of(tasks.support_x, shape.stride)
        theta, rates = packing.pack(shape, meta.model), packing.rates(shape, meta.inner_lrs, names, n_steps)
        for k in range(n_steps):
            norms = packing.norms(meta.model, k)
            theta = inner_step(theta, norms, patches, tasks.support_y, rates=rates[k]).after
        logits = []
        for adapted, x in zip(packing.unpack_tasks(shape, theta), tasks.query_x):
            weights = {**meta.model, **adapted}
            answers = [own.forward(weights, buffers, x, n_steps - 1, step.norm)[0] for step in steps]
            logits.append(torch.stack(answers))
        return torch.stack(logits, 1)  # T x [M, Q, N] -> [M, T, Q, N]

    with torch.no_grad():
        return torch.cat([*side_by_side(answer, problem, split(batch, tasks_per_chunk))], 1)
