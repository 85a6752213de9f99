"""The inner loop of ONE task: adapt to the support set, and judge each step on the query set.

There is no task axis here; ``mamlkit.outer_loop`` maps these functions over tasks.
Axis letters: ``N`` way, ``K`` inner steps, ``S`` support images, ``Q`` query images, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mamlkit.backbone import BatchStats, PerStepBatchNorm2d
from mamlkit.episodes import Episode
from mamlkit.errors import InputError
from mamlkit.schedules import StepConfig

Params = dict[str, Tensor]
Stats = dict[str, BatchStats]
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


class InnerTrace(NamedTuple):
    """What happened inside one inner loop, detached; NaN where no query pass was made."""

    support_loss: Tensor  # [K] nats, before each update
    query_loss: Tensor  # [K] nats, after each update
    query_accuracy: Tensor  # [K] fraction in [0, 1], after each update
    query_logits: Tensor  # [Q, N] of the last query pass
    grad_norm: Tensor  # [K, n_adapted] l2 norm of each adapted tensor's support gradient
    support_stats: Stats  # {layer: BatchStats [K, C]}
    query_stats: Stats  # {layer: BatchStats [K, C]}


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
    names = adapted_names(model, config.adapt)
    _check_rates(names, meta.inner_lrs, len(config.loss_weights))

    def support_loss(adapted: Params, step: int) -> tuple[Tensor, tuple[Tensor, Stats]]:
        outputs, stats = functional_call(
            model, ({**params, **adapted}, buffers), (episode.support_x, step), strict=True
        )
        loss = loss_fn(outputs, episode.support_y)
        return loss, (loss.detach(), stats)

    params = dict(meta.model)
    for step in range(len(config.loss_weights)):
        adapted = {name: params[name] for name in names}
        # torch.func.grad differentiates even under no_grad; the mode around it decides whether the result keeps a
        # graph for the outer derivative, which is all that derivative-order annealing is.
        with torch.set_grad_enabled(config.second_order and torch.is_grad_enabled()):
            gradients, (loss, stats) = torch.func.grad(support_loss, has_aux=True)(adapted, step)
        rates = meta.inner_lrs[:, step]  # [n_adapted, K] -> [n_adapted]
        params = params | {name: adapted[name] - rate * gradients[name] for name, rate in zip(names, rates)}
        yield InnerStep(params, gradients, loss, stats)


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
        config: see ``mamlkit.schedules.StepConfig``; ``norm`` normalises the query passes, while support passes
            always use the support set's own statistics.

    Returns:
        loss: scalar in nats, with a graph to ``meta`` where gradients are enabled.
        trace: see ``InnerTrace``; detached.

    Raises:
        InputError: see ``adapt``.

    Pure: no argument is changed. Source: section 3 (MAML) and section 4 (multi-step loss) of the paper.
    """
    loss = episode.query_x.new_zeros(())
    steps, queries, logits = [], [], None
    for k, step in enumerate(adapt(model, meta, buffers, episode, config, loss_fn=loss_fn)):
        weight = config.loss_weights[k]
        query = None
        if weight != 0 or config.track_query:
            logits, stats = functional_call(
                model, (step.params, buffers), (episode.query_x, k, config.norm), strict=True
            )
            query_loss = loss_fn(logits, episode.query_y)
            loss = loss + weight * query_loss
            query = (query_loss.detach(), _accuracy(logits, episode.query_y), stats)
        steps.append(InnerStep({}, step.gradients, step.support_loss, step.support_stats))
        queries.append(query)
    if logits is None:
        raise InputError(f"loss_weights = {config.loss_weights} are all 0; at least one must not be")
    return loss, _trace(steps, queries, logits.detach())


def _trace(steps: list[InnerStep], queries: list[tuple[Tensor, Tensor, Stats] | None], logits: Tensor) -> InnerTrace:
    absent = torch.full_like(steps[0].support_loss, torch.nan)
    absent_stats = {
        layer: BatchStats(*(torch.full_like(value, torch.nan) for value in stats))
        for layer, stats in steps[0].support_stats.items()
    }
    rows = [query or (absent, absent, absent_stats) for query in queries]
    norms = [torch.stack([g.detach().norm() for g in step.gradients.values()]) for step in steps]  # K x [n_adapted]
    return InnerTrace(
        support_loss=torch.stack([step.support_loss for step in steps]),
        query_loss=torch.stack([row[0] for row in rows]),
        query_accuracy=torch.stack([row[1] for row in rows]),
        query_logits=logits,
        grad_norm=torch.stack(norms),
        support_stats=_stack([step.support_stats for step in steps]),
        query_stats=_stack([row[2] for row in rows]),
    )


def _stack(steps: list[Stats]) -> Stats:
    return {
        layer: BatchStats(*(torch.stack(values) for values in zip(*(stats[layer] for stats in steps))))
        for layer in steps[0]
    }  # K x [C] -> [K, C]


def _accuracy(logits: Tensor, y: Tensor) -> Tensor:
    if y.is_floating_point():  # a regression has no accuracy
        return torch.full_like(logits.detach().sum(), torch.nan)
    return (logits.detach().argmax(-1) == y).to(logits.dtype).mean()


def _check_rates(names: tuple[str, ...], inner_lrs: Tensor, n_steps: int) -> None:
    rows, columns = inner_lrs.shape
    if rows != len(names):
        raise InputError(f"inner_lrs has {rows} rows; the {len(names)} adapted tensors are {', '.join(names)}")
    if n_steps > columns:
        raise InputError(
            f"{n_steps} inner steps are more than the {columns} of the per-step tables; use 1 to {columns}"
        )
