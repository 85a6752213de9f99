"""The textbook loop: MAML as it is written down, for comparison with the engines in speed and in numbers.

It keeps the graph of one whole task and differentiates it at once. Nothing here is shared with
``mamlkit.core.inner_loop.inner_loop`` or ``mamlkit.core.outer_loop``, so that agreement with them means something.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import LossFn, MetaParams, Params, adapted_names
from mamlkit.core.schedules import StepConfig


class NaiveStep(NamedTuple):
    """A meta-gradient and what an Adam step needs beside it.

    Attributes:
        gradient: of the meta-loss, shaped as the meta-parameters.
        loss: mean over tasks, scalar, nats.
        buffers: the model's buffers as they came: this loop records no statistics.
    """

    gradient: MetaParams
    loss: Tensor
    buffers: Params


def meta_gradient(
    model: nn.Module,
    meta: MetaParams,
    buffers: Params,
    batch: Episode,
    config: StepConfig,
    *,
    loss_fn: LossFn = F.cross_entropy,
) -> NaiveStep:
    """Return the gradient of the mean task loss with respect to the meta-parameters.

    Args:
        model, meta, buffers, batch, config, loss_fn: see ``mamlkit.core.outer_loop.meta_gradient``; ``track_query``
            changes nothing, as there is no trace.

    Raises:
        InputError: nothing is left to adapt, see ``mamlkit.core.inner_loop.adapted_names``.

    Pure: no argument is changed. Source: algorithm 1 of Finn et al. 2017; section 4 of the paper (multi-step loss).
    """
    start = {name: value.detach().requires_grad_() for name, value in meta.model.items()}
    inner_lrs = meta.inner_lrs.detach().requires_grad_()
    tensors = [*start.values(), inner_lrs]
    total = [torch.zeros_like(tensor) for tensor in tensors]
    losses = []
    for task in zip(*batch):  # [T, ...] -> T x [...]
        loss = _task_loss(model, MetaParams(start, inner_lrs), buffers, Episode(*task), config, loss_fn=loss_fn)
        gradients = torch.autograd.grad(loss, tensors, allow_unused=True, materialize_grads=True)
        total = [a + b / len(batch.support_x) for a, b in zip(total, gradients)]
        losses.append(loss.detach())
    gradient = MetaParams(dict(zip(start, total)), total[-1])
    return NaiveStep(gradient, torch.stack(losses).mean(), buffers)


def _task_loss(
    model: nn.Module, meta: MetaParams, buffers: Params, task: Episode, config: StepConfig, *, loss_fn: LossFn
) -> Tensor:
    names = adapted_names(model, config.adapt)
    params, total = dict(meta.model), task.query_x.new_zeros(())
    for k, weight in enumerate(config.loss_weights):
        logits, _ = functional_call(model, (params, buffers), (task.support_x, k))
        loss = loss_fn(logits, task.support_y)
        gradients = torch.autograd.grad(loss, [params[name] for name in names], create_graph=config.second_order)
        rates = meta.inner_lrs[:, k]  # [n_adapted, K] -> [n_adapted]
        params |= {name: params[name] - rate * g for name, rate, g in zip(names, rates, gradients)}
        if weight:
            logits, _ = functional_call(model, (params, buffers), (task.query_x, k, config.norm))
            total = total + weight * loss_fn(logits, task.query_y)
    return total
