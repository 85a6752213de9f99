"""The inner loop of ONE task: adapt to the support set, and evaluate each step on the query set.

There is no task axis here; ``mamlkit.core.outer_loop`` maps these functions over tasks.
Axis letters: ``K`` inner steps, ``Q`` query images, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace, Stats, stack_rows
from mamlkit.core.transforms import Params, check_returned


class InnerStep(NamedTuple):
    """One inner step: the parameters and the rule's state after it, and the results of its support pass."""

    params: Params
    state: Any
    gradients: Params
    support_loss: Tensor  # []
    support_stats: Stats  # {layer: BatchStats [C]}


def adapt(
    problem: Problem, meta: MetaParams, buffers: Params, episode: Episode, step: StepConfig
) -> Iterator[InnerStep]:
    """Yield the inner steps, one at a time.

        theta_k+1 = rule(theta_k, grad_theta_k loss(f(support_x; theta_k, k), support_y))

    Args:
        problem: network, loss and rule.
        meta: the start, and the rule's tensors.
        buffers: the network's other tensors.
        episode: one task; only its support set is used.
        step: the length of its ``loss_weights`` is the number of steps; ``second_order`` keeps the graph.

    Raises:
        InputError: the rule's tensors do not match the adapted tensors or the steps; the loss is not a scalar; the rule
            returns other parameters than it was given.

    Source: section 3 of the paper.
    """
    params, state = begin(problem, meta, step)
    for k in range(len(step.loss_weights)):
        taken = _inner_step(problem, meta, buffers, episode, step, k=k, params=params, state=state)
        params, state = taken.params, taken.state
        yield taken


def begin(problem: Problem, meta: MetaParams, step: StepConfig) -> tuple[Params, Any]:
    """Return the parameters and the rule's state before the first step.

    Raises:
        InputError: the rule's tensors do not match the adapted tensors or the steps.
    """
    rule = problem.need_rule
    rule.check(meta.rule, problem.adapted, len(step.loss_weights))
    return dict(meta.model), rule.init({name: meta.model[name] for name in problem.adapted})


def _inner_step(
    problem: Problem,
    meta: MetaParams,
    buffers: Params,
    episode: Episode,
    step: StepConfig,
    *,
    k: int,
    params: Params,
    state: Any,
) -> InnerStep:
    def support_loss(adapted: Params) -> tuple[Tensor, tuple[Tensor, Stats]]:
        outputs, stats = problem.forward({**params, **adapted}, buffers, episode.support_x, k)
        loss = problem.cost(outputs, episode.support_y)
        return loss, (loss.detach(), stats)

    adapted = {name: params[name] for name in problem.adapted}
    # torch.func.grad differentiates even under no_grad; the surrounding mode decides whether the result keeps a graph
    # for the outer derivative. Derivative-order annealing switches only this mode.
    with torch.set_grad_enabled(step.second_order and torch.is_grad_enabled()):
        gradients, (loss, stats) = torch.func.grad(support_loss, has_aux=True)(adapted)
    moved, state = problem.need_rule.update(meta.rule, gradients, state, adapted, k)
    check_returned(f"the rule {problem.rule!r}", "parameters", moved, adapted)
    return InnerStep(params | moved, state, gradients, loss, stats)


def inner_loop(
    problem: Problem, meta: MetaParams, buffers: Params, episode: Episode, step: StepConfig
) -> tuple[Tensor, InnerTrace]:
    """Adapt to one task and return the weighted sum of its query losses, with a trace.

        loss = sum_k loss_weights[k] * loss(f(query_x; theta_k+1, k), query_y)

    The query pass after an update uses the same row of the per-step tables as the support pass before it.

    Args:
        problem, meta, buffers: see ``adapt``.
        episode: one task, without a task axis.
        step: see ``mamlkit.core.schedules.StepConfig``; ``norm`` selects the statistics of the query passes, while
            support passes always use the support set's own statistics.

    Returns:
        loss: scalar in nats, with a graph to ``meta`` if gradients are enabled.
        trace: see ``InnerTrace``; detached.

    Raises:
        InputError: see ``adapt``.

    Source: section 3 (MAML) and section 4 (multi-step loss) of the paper.
    """
    check_scored(step)
    params, state = begin(problem, meta, step)
    losses, rows = [], []
    for k in range(len(step.loss_weights)):
        params, state, weighted, row = advance(problem, meta, buffers, episode, step, k=k, params=params, state=state)
        losses.append(weighted)
        rows.append(row)
    return sum(losses), stack_rows(rows)  # type: ignore[return-value]  # at least one step


def advance(
    problem: Problem,
    meta: MetaParams,
    buffers: Params,
    episode: Episode,
    step: StepConfig,
    *,
    k: int,
    params: Params,
    state: Any,
) -> tuple[Params, Any, Tensor, InnerTrace]:
    """Take inner step ``k`` from ``params``, and evaluate it on the query set if its query loss is needed.

    Args:
        problem, meta, buffers, episode, step: see ``inner_loop``.
        k: the step, from 0.
        params: every parameter of the network before the step.
        state: the rule's state before the step.

    Returns:
        The parameters and the state after the step, the weighted query loss, and a row of the trace: all its tensors
        without [K]; logits [0] if there was no query pass.
    """
    taken = _inner_step(problem, meta, buffers, episode, step, k=k, params=params, state=state)
    absent = torch.full_like(taken.support_loss, torch.nan)
    row = InnerTrace(
        support_loss=taken.support_loss,
        query_loss=absent,
        query_metric=absent,
        query_logits=absent.new_empty(0),
        grad_norm=torch.stack([gradient.detach().norm() for gradient in taken.gradients.values()]),  # [n_adapted]
        support_stats=taken.support_stats,
        query_stats=pytree.tree_map(lambda value: torch.full_like(value, torch.nan), taken.support_stats),
    )
    weight = step.loss_weights[k]
    if weight == 0 and not step.track_query:
        return taken.params, taken.state, absent.new_zeros(()), row
    logits, stats = problem.forward(taken.params, buffers, episode.query_x, k, step.norm)
    loss, known = problem.cost(logits, episode.query_y), pytree.tree_map(Tensor.detach, logits)
    row = row._replace(
        query_loss=loss.detach(),
        query_metric=problem.score(known, episode.query_y),
        query_logits=known,
        query_stats=stats,
    )
    return taken.params, taken.state, weight * loss, row


def check_scored(step: StepConfig) -> None:
    """Raise unless at least one step has a query pass.

    Raises:
        InputError: every loss weight is 0.
    """
    if not any(step.loss_weights) and not step.track_query:
        raise InputError(f"loss_weights = {step.loss_weights} are all 0; at least one must not be")
