"""The outer loop: the meta-gradient over a batch of tasks, and the recorded batch-norm statistics.

Axis letters: ``T`` tasks, ``K`` inner steps, ``C`` channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.batch_norm import BatchStats
from mamlkit.core.chunks import Spread, in_turn, split
from mamlkit.core.episodes import Episode, count
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import inner_loop
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.recompute import check_differentiable, map_tasks, recomputed_gradient
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace
from mamlkit.core.transforms import Params

# (problem, meta, buffers, episode, step) -> (loss of one task, trace)
Method = Callable[[Problem, MetaParams, Params, Episode, StepConfig], tuple[Tensor, InnerTrace]]

MOMENTUM = 0.1


class MetaStep(NamedTuple):
    """One meta-gradient, with its loss, trace and new buffers.

    Attributes:
        gradient: gradient of the meta-loss, with the structure of the meta-parameters.
        loss: mean over tasks, scalar, nats.
        trace: see ``InnerTrace``, with a leading [T].
        buffers: the network's buffers with this batch's statistics folded in.
    """

    gradient: MetaParams
    loss: Tensor
    trace: InnerTrace
    buffers: Params


def meta_gradient(
    problem: Problem,
    meta: MetaParams,
    buffers: Params,
    batch: Episode,
    step: StepConfig,
    *,
    tasks_per_chunk: int = 1,
    low_memory: bool = False,
    spread: Spread = in_turn,
    method: Method = inner_loop,
) -> MetaStep:
    """Return the gradient of the mean task loss with respect to the meta-parameters.

        gradient = d/d meta  1/T sum_t inner_loop(task t)

    Args:
        problem, meta, buffers: see ``mamlkit.core.inner_loop.adapt``.
        batch: a meta-batch; all its tensors have a leading [T].
        step: see ``mamlkit.core.schedules.StepConfig``.
        tasks_per_chunk: 1 is a plain loop over tasks, T one ``vmap`` over all of them; memory grows with it.
        low_memory: recompute each inner step instead of keeping its graph, see ``mamlkit.core.recompute``; only for
            ``inner_loop``.
        spread: the way to compute the chunks, see ``mamlkit.core.chunks``.
        method: the loss of one task: ``inner_loop`` is MAML, others are in ``mamlkit.core.methods``.

    Returns:
        See ``MetaStep``.

    Raises:
        InputError: ``low_memory`` is set for another method, or the loss depends on no parameter; see ``inner_loop``.

    Source: section 3 of the paper, which sums over tasks; the authors' code takes the mean, as here. Adam's step is the
    same for both, up to its epsilon.
    """
    if low_memory and method is not inner_loop:
        name = getattr(method, "__name__", repr(method))
        raise InputError(f"low_memory has no meaning for the method {name}; only inner_loop supports it")
    leaves: MetaParams = pytree.tree_map(lambda x: x.detach().requires_grad_(), meta)
    tensors, spec = pytree.tree_flatten(leaves)

    def differentiate(own: Problem, chunk: Episode) -> tuple[Sequence[Tensor], Tensor, InnerTrace]:
        if low_memory:
            return recomputed_gradient(own, leaves, buffers, chunk, step)
        loss, trace = run_tasks(own, leaves, buffers, chunk, step, method=method)
        check_differentiable(loss)
        gradients = torch.autograd.grad(loss.sum(), tensors, allow_unused=True, materialize_grads=True)
        return gradients, loss.detach(), trace

    n_tasks, total = count(batch), [torch.zeros_like(tensor) for tensor in tensors]
    losses, traces = [], []
    for gradients, loss, trace in spread(differentiate, problem, split(batch, tasks_per_chunk)):
        total = [a + b / n_tasks for a, b in zip(total, gradients)]
        losses.append(loss)
        traces.append(trace)
    trace = pytree.tree_map(lambda *chunks: torch.cat(chunks), *traces)  # -> [T, ...]
    return MetaStep(
        gradient=pytree.tree_unflatten(total, spec),
        loss=torch.cat(losses).mean(),
        trace=trace,
        buffers=fold_batch_stats(buffers, trace, step),
    )


def run_tasks(
    problem: Problem,
    meta: MetaParams,
    buffers: Params,
    batch: Episode,
    step: StepConfig,
    *,
    method: Method = inner_loop,
) -> tuple[Tensor, InnerTrace]:
    """Apply ``method`` to all tasks at once; return losses [T] and a trace with a leading [T]."""

    def task(episode: Episode) -> tuple[Tensor, InnerTrace]:
        return method(problem, meta, buffers, episode, step)

    return map_tasks(task, batch)  # type: ignore[no-any-return]


def fold_batch_stats(buffers: Params, trace: InnerTrace, step: StepConfig, momentum: float = MOMENTUM) -> Params:
    """Return the buffers with the statistics of a meta-batch folded into the running ones.

        running <- (1 - momentum) * running + momentum * batch

    task by task, step by step, the support pass before the query pass. Query passes that serve only the trace
    (loss weight 0) are left out. Each step updates its own row of a [K, C] buffer; all steps update a [C] buffer.

    Args:
        buffers: the model's buffers.
        trace: the trace of a meta-batch, with a leading [T].
        step: a query pass counts if its entry of ``loss_weights`` is not 0.
        momentum: weight of the newest statistics, in [0, 1].

    Source: section 4 of the paper (per-step running statistics); order and momentum
    from the authors' code.
    """
    folded = dict(buffers)
    for layer, support in trace.support_stats.items():
        for field in BatchStats._fields:
            name = f"{layer}.running_{field}"
            given, asked = getattr(support, field), getattr(trace.query_stats[layer], field)  # [T, K, C]
            steps = [  # K of one or two [T, C]
                [given[:, k], asked[:, k]] if weight else [given[:, k]] for k, weight in enumerate(step.loss_weights)
            ]
            if buffers[name].dim() == 1:
                folded[name] = _ema(buffers[name], torch.stack([*itertools.chain(*steps)], 1), momentum)
                continue
            rows = [_ema(row, torch.stack(passes, 1), momentum) for row, passes in zip(buffers[name], steps)]
            folded[name] = torch.cat([torch.stack(rows), buffers[name][len(rows) :]])
    return folded


def _ema(running: Tensor, passes: Tensor, momentum: float) -> Tensor:
    sequence = passes.flatten(0, 1)  # [T, n, C] -> [T n, C]
    age = torch.arange(len(sequence) - 1, -1, -1, dtype=sequence.dtype, device=sequence.device)
    weights = momentum * (1.0 - momentum) ** age
    return (1.0 - momentum) ** len(sequence) * running + weights @ sequence
