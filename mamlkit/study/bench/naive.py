"""The textbook MAML loop, for comparison with the engines in speed and in numbers.

It keeps the graph of one whole task and differentiates it at once. It shares no code with
``mamlkit.core.inner_loop.inner_loop`` or ``mamlkit.core.outer_loop``, so that agreement is real evidence.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig
from mamlkit.core.transforms import Params


class NaiveStep(NamedTuple):
    """A meta-gradient, with the other inputs of an Adam step.

    Attributes:
        gradient: gradient of the meta-loss, shaped like the meta-parameters.
        loss: mean over tasks, scalar, nats.
        buffers: the unchanged buffers of the model: this loop records no statistics.
    """

    gradient: MetaParams
    loss: Tensor
    buffers: Params


def meta_gradient(problem: Problem, meta: MetaParams, buffers: Params, batch: Episode, step: StepConfig) -> NaiveStep:
    """Return the gradient of the mean task loss with respect to the meta-parameters.

    Args:
        problem, meta, buffers, batch, step: see ``mamlkit.core.outer_loop.meta_gradient``; ``track_query`` has no
            effect, as there is no trace.

    Raises:
        InputError: nothing is left to adapt, see ``mamlkit.core.problem.Problem.adapted``.

    Source: algorithm 1 of Finn et al. 2017; section 4 of the paper (multi-step loss).
    """
    leaves: MetaParams = pytree.tree_map(lambda x: x.detach().requires_grad_(), meta)
    tensors, spec = pytree.tree_flatten(leaves)
    total = [torch.zeros_like(tensor) for tensor in tensors]
    losses = []
    for task in zip(*batch):  # [T, ...] -> T x [...]
        loss = _task_loss(problem, leaves, buffers, Episode(*task), step)
        gradients = torch.autograd.grad(loss, tensors, allow_unused=True, materialize_grads=True)
        total = [a + b / len(batch.support_x) for a, b in zip(total, gradients)]
        losses.append(loss.detach())
    return NaiveStep(pytree.tree_unflatten(total, spec), torch.stack(losses).mean(), buffers)


def _task_loss(problem: Problem, meta: MetaParams, buffers: Params, task: Episode, step: StepConfig) -> Tensor:
    names, rule = problem.adapted, problem.need_rule
    params, total = dict(meta.model), task.query_x.new_zeros(())
    state = rule.init({name: params[name] for name in names})
    for k, weight in enumerate(step.loss_weights):
        logits, _ = problem.forward(params, buffers, task.support_x, k)
        adapted = {name: params[name] for name in names}
        gradients = torch.autograd.grad(
            problem.loss(logits, task.support_y), list(adapted.values()), create_graph=step.second_order
        )
        moved, state = rule.update(meta.rule, dict(zip(names, gradients)), state, adapted, k)
        params |= moved
        if weight:
            logits, _ = problem.forward(params, buffers, task.query_x, k, step.norm)
            total = total + weight * problem.loss(logits, task.query_y)
    return total
