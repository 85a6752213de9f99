"""The inner loop of ONE task: adapt to the support set, and judge each step on the query set.

There is no task axis here; ``mamlkit.core.outer_loop`` maps these functions over tasks.
Axis letters: ``N`` way, ``K`` inner steps, ``S`` support images, ``Q`` query images, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.networks import PerStepBatchNorm2d
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace, Stats, query_accuracy, stack_rows

Params = dict[str, Tensor]
LossFn = Callable[[Tensor, Tensor], Tensor]

NORM_LAYERS = (PerStepBatchNorm2d, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


class MetaParams(NamedTuple):
    """What the outer loop learns.

    Attributes:
        model: every parameter of the network by its dotted name; the start of each inner loop.
        inner_lrs: [n_adapted, K] learning rate of each adapted tensor (rows as ``adapted_names``) at each step; a
            negative rate ascends.
    """

    model: Params
    inner_lrs: Tensor


class InnerStep(NamedTuple):
    """One inner step: the adapted parameters after it, and what its support pass gave."""

    params: Params
    gradients: Params
    support_loss: Tensor  # []
    support_stats: Stats  # {layer: BatchStats [C]}


def adapted_names(model: nn.Module, adapt: str = "all") -> tuple[str, ...]:
    """Return the names of the tensors that the inner loop moves, in the model's own order.

    Args:
        model: the network; for ``"head"`` and ``"body"`` its last layer is called ``head``.
        adapt: ``"all"`` (MAML), ``"head"`` (ANIL) or ``"body"`` (BOIL). Normalisation layers never adapt.

    Raises:
        InputError: nothing is left to adapt, or ``"head"`` or ``"body"`` is asked of a network without a ``head``.

    Pure: no state. Source: the paper's inner loop leaves batch norm alone; Raghu et al. 2020; Oh et al. 2021.
    """
    norms = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, NORM_LAYERS))
    names = [name for name, _ in model.named_parameters() if not name.startswith(norms)]
    heads = {name for name in names if "head" in name.split(".")[:-1]}
    chosen = tuple(name for name in names if adapt == "all" or (name in heads) == (adapt == "head"))
    if not chosen or (adapt != "all" and not heads):
        raise InputError(f"adapt = {adapt!r} needs a layer called head and others; the model has {', '.join(names)}")
    return chosen


def adapt(
    model: nn.Module,
    meta: MetaParams,
    buffers: Params,
    episode: Episode,
    config: StepConfig,
    *,
    loss_fn: LossFn = F.cross_entropy,
) -> Iterator[InnerStep]:
    """Yield the inner steps, one at a time.

        theta_k+1 = theta_k - inner_lrs[:, k] * grad_theta_k loss(f(support_x; theta_k, k), support_y)

    Args:
        model: ``model(x, step, norm) -> (outputs, statistics)``; its own weights are not used.
        meta: the start, and the rates.
        buffers: the model's buffers.
        episode: one task; only its support set is used.
        config: its length of ``loss_weights`` is the number of steps; ``second_order`` keeps the graph.
        loss_fn: ``(outputs, targets) -> scalar``.

    Raises:
        InputError: there are more steps than the rates have columns, or other tensors than the rates have rows.

    Pure: no argument is changed. Source: section 3 of the paper; rates: section 4, learned per layer and step.
    """
    check_rates(adapted_names(model, config.adapt), meta.inner_lrs, len(config.loss_weights))
    params = dict(meta.model)
    for k in range(len(config.loss_weights)):
        step = _inner_step(model, meta, buffers, episode, config, k=k, params=params, loss_fn=loss_fn)
        params = step.params
        yield step


def _inner_step(
    model: nn.Module,
    meta: MetaParams,
    buffers: Params,
    episode: Episode,
    config: StepConfig,
    *,
    k: int,
    params: Params,
    loss_fn: LossFn,
) -> InnerStep:
    def support_loss(adapted: Params) -> tuple[Tensor, tuple[Tensor, Stats]]:
        outputs, stats = functional_call(model, ({**params, **adapted}, buffers), (episode.support_x, k), strict=True)
        loss = loss_fn(outputs, episode.support_y)
        return loss, (loss.detach(), stats)

    adapted = {name: params[name] for name in adapted_names(model, config.adapt)}
    # torch.func.grad differentiates even under no_grad; the mode around it decides whether the result keeps a graph
    # for the outer derivative, which is all that derivative-order annealing is.
    with torch.set_grad_enabled(config.second_order and torch.is_grad_enabled()):
        gradients, (loss, stats) = torch.func.grad(support_loss, has_aux=True)(adapted)
    rates = meta.inner_lrs[:, k]  # [n_adapted, K] -> [n_adapted]
    moved = {name: adapted[name] - rate * gradients[name] for name, rate in zip(adapted, rates)}
    return InnerStep(params | moved, gradients, loss, stats)


def inner_loop(
    model: nn.Module,
    meta: MetaParams,
    buffers: Params,
    episode: Episode,
    config: StepConfig,
    *,
    loss_fn: LossFn = F.cross_entropy,
) -> tuple[Tensor, InnerTrace]:
    """Adapt to one task and return the weighted sum of its query losses, with a trace.

        loss = sum_k loss_weights[k] * loss(f(query_x; theta_k+1, k), query_y)

    The query pass after an update uses the same row of the per-step tables as the support pass before it.

    Args:
        model, meta, buffers, loss_fn: see ``adapt``.
        episode: one task, without a task axis.
        config: see ``mamlkit.core.schedules.StepConfig``; ``norm`` normalises the query passes, while support passes
            always use the support set's own statistics.

    Returns:
        loss: scalar in nats, with a graph to ``meta`` where gradients are enabled.
        trace: see ``InnerTrace``; detached.

    Raises:
        InputError: see ``adapt``.

    Pure: no argument is changed. Source: section 3 (MAML) and section 4 (multi-step loss) of the paper.
    """
    check_rates(adapted_names(model, config.adapt), meta.inner_lrs, len(config.loss_weights))
    check_judged(config)
    loss, params, rows = episode.query_x.new_zeros(()), dict(meta.model), []
    for k in range(len(config.loss_weights)):
        params, weighted, row = advance(model, meta, buffers, episode, config, k=k, params=params, loss_fn=loss_fn)
        loss = loss + weighted
        rows.append(row)
    return loss, stack_rows(rows)


def advance(
    model: nn.Module,
    meta: MetaParams,
    buffers: Params,
    episode: Episode,
    config: StepConfig,
    *,
    k: int,
    params: Params,
    loss_fn: LossFn,
) -> tuple[Params, Tensor, InnerTrace]:
    """Take inner step ``k`` from ``params``, and judge it on the query set if that counts.

    Args:
        model, meta, buffers, episode, config, loss_fn: see ``inner_loop``.
        k: the step, from 0.
        params: every parameter of the network before the step.

    Returns:
        The parameters after it, the weighted query loss, and a row of the trace: all its tensors without [K]; logits
        [0] where there was no query pass.

    Pure: no argument is changed.
    """
    step = _inner_step(model, meta, buffers, episode, config, k=k, params=params, loss_fn=loss_fn)
    absent = torch.full_like(step.support_loss, torch.nan)
    row = InnerTrace(
        support_loss=step.support_loss,
        query_loss=absent,
        query_accuracy=absent,
        query_logits=absent.new_empty(0),
        grad_norm=torch.stack([gradient.detach().norm() for gradient in step.gradients.values()]),  # [n_adapted]
        support_stats=step.support_stats,
        query_stats=pytree.tree_map(lambda value: torch.full_like(value, torch.nan), step.support_stats),
    )
    weight = config.loss_weights[k]
    if weight == 0 and not config.track_query:
        return step.params, absent.new_zeros(()), row
    inputs = (episode.query_x, k, config.norm)
    logits, stats = functional_call(model, (step.params, buffers), inputs, strict=True)
    loss = loss_fn(logits, episode.query_y)
    seen = {"query_loss": loss.detach(), "query_logits": logits.detach(), "query_stats": stats}
    return step.params, weight * loss, row._replace(**seen, query_accuracy=query_accuracy(logits, episode.query_y))


def check_rates(names: tuple[str, ...], inner_lrs: Tensor, n_steps: int) -> None:
    """Refuse rates [n_adapted, K] that are not of the tensors ``names`` or not enough for ``n_steps``.

    Raises:
        InputError: there are more steps than columns, or other rows than names.
    """
    rows, columns = inner_lrs.shape
    if rows != len(names):
        raise InputError(f"inner_lrs has {rows} rows; the {len(names)} adapted tensors are {', '.join(names)}")
    if n_steps > columns:
        raise InputError(
            f"{n_steps} inner steps are more than the {columns} of the per-step tables; use 1 to {columns}"
        )


def check_judged(config: StepConfig) -> None:
    """Refuse settings without any query pass.

    Raises:
        InputError: every loss weight is 0.
    """
    if not any(config.loss_weights) and not config.track_query:
        raise InputError(f"loss_weights = {config.loss_weights} are all 0; at least one must not be")
