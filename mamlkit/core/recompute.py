"""The derivative of a chunk's loss without a graph over the inner steps: each step is computed again on the way back.

Memory does not grow with the number of steps; a third more arithmetic is the price.
Axis letters: ``T`` tasks at once, ``K`` inner steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import LossFn, MetaParams, Params, adapted_names, advance, check_judged, check_rates
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace, stack_rows


def map_tasks(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function`` of every task at once: all tensors of the arguments and results have a leading [T].

    A single task runs without ``vmap``, so that ``print`` and ``breakpoint()`` work inside.
    """
    if len(pytree.tree_leaves(arguments)[0]) == 1:
        result = function(*pytree.tree_map(lambda x: x[0], arguments))
        return pytree.tree_map(lambda x: x.unsqueeze(0), result)
    return torch.vmap(function, randomness="different")(*arguments)


def recomputed_gradient(
    model: nn.Module,
    leaves: MetaParams,
    buffers: Params,
    batch: Episode,
    config: StepConfig,
    *,
    loss_fn: LossFn,
) -> tuple[list[Tensor], Tensor, InnerTrace]:
    """Return the derivative of the tasks' summed loss by each leaf, the losses [T] and the trace.

    Args:
        model, buffers, config, loss_fn: see ``mamlkit.core.inner_loop.adapt``.
        leaves: meta-parameters that require a gradient.
        batch: tasks with a leading [T].

    Raises:
        InputError: see ``mamlkit.core.inner_loop.inner_loop``.

    Pure: no argument is changed. A network that draws random numbers would draw others the second time.
    """
    names = adapted_names(model, config.adapt)
    check_rates(names, leaves.inner_lrs, len(config.loss_weights))
    check_judged(config)

    def step(adapted: Params, k: int) -> tuple[Params, Tensor, InnerTrace]:
        def task(own: Params, episode: Episode) -> tuple[Params, Tensor, InnerTrace]:
            params = {**leaves.model, **own}
            params, loss, row = advance(model, leaves, buffers, episode, config, k=k, params=params, loss_fn=loss_fn)
            return {name: params[name] for name in names}, loss, row

        return map_tasks(task, adapted, batch)  # type: ignore[no-any-return]

    start = {name: leaves.model[name].detach() for name in names}
    adapted = {name: value.expand(len(batch.support_x), *value.shape) for name, value in start.items()}
    visited, losses, rows = [], [], []
    with torch.no_grad():
        for k in range(len(config.loss_weights)):
            visited.append(adapted)
            adapted, loss, row = step(adapted, k)
            losses.append(loss)
            rows.append(row)
    total = _back(step, visited, leaves)
    return total, torch.stack(losses).sum(0), stack_rows(rows, 1)


def _back(
    step: Callable[[Params, int], tuple[Params, Tensor, InnerTrace]], visited: list[Params], leaves: MetaParams
) -> list[Tensor]:
    """Return the derivative by each leaf: that by the parameters after a step becomes that by those before it."""
    tensors = pytree.tree_leaves(tuple(leaves))
    total = [torch.zeros_like(tensor) for tensor in tensors]
    adjoint = [torch.zeros_like(value) for value in visited[0].values()]
    for k in reversed(range(len(visited))):
        own = {name: value.detach().requires_grad_() for name, value in visited[k].items()}
        after, loss, _ = step(own, k)
        outputs, seeds = [*after.values(), loss], [*adjoint, torch.ones_like(loss)]
        found = _grad(outputs, [*own.values(), *tensors], seeds)
        adjoint = found[: len(own)]
        total = [a + b for a, b in zip(total, found[len(own) :])]
    by_start = {name: value.sum(0) for name, value in zip(visited[0], adjoint)}
    names = [*leaves.model, ""]  # the last leaf is the rates
    return [value + by_start.get(name, 0.0) for name, value in zip(names, total)]


def _grad(outputs: list[Tensor], inputs: list[Tensor], seeds: list[Tensor]) -> list[Tensor]:
    told = [(output, seed) for output, seed in zip(outputs, seeds) if output.requires_grad]
    outputs, seeds = [output for output, _ in told], [seed for _, seed in told]
    return list(torch.autograd.grad(outputs, inputs, seeds, allow_unused=True, materialize_grads=True))
