"""The derivative of a chunk's loss without a graph over the inner steps: the backward pass recomputes each step.

Memory does not grow with the number of steps; the cost is a third more arithmetic.
Axis letters: ``T`` tasks at once, ``K`` inner steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode, count
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import advance, begin, check_scored
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.randomness import generator_states, restore_generators
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace, stack_rows
from mamlkit.core.transforms import Params

Moved = tuple[Params, Any]  # the adapted parameters and the rule's state, with a leading [T]


def map_tasks(function: Callable[..., Any], *arguments: Any) -> Any:
    """Apply ``function`` to all tasks at once: all tensors of the arguments and results have a leading [T].

    A single task runs without ``vmap``, so that ``print`` and ``breakpoint()`` work inside.
    """
    if count(arguments) == 1:
        result = function(*pytree.tree_map(lambda x: x[0], arguments))
        return pytree.tree_map(lambda x: x.unsqueeze(0), result)
    return torch.vmap(function, randomness="different")(*arguments)


def check_differentiable(loss: Tensor) -> None:
    """Raise unless a query loss depends on the meta-parameters.

    Raises:
        InputError: the loss has no graph, for example because it is detached.
    """
    if not loss.requires_grad:
        raise InputError("the query loss depends on no parameter of the network; loss and network must not be detached")


def recomputed_gradient(
    problem: Problem, leaves: MetaParams, buffers: Params, batch: Episode, step: StepConfig
) -> tuple[list[Tensor], Tensor, InnerTrace]:
    """Return the derivative of the tasks' summed loss with respect to each leaf, the losses [T] and the trace.

    A network that draws random numbers draws the same numbers again in the backward pass.

    Args:
        problem, buffers, step: see ``mamlkit.core.inner_loop.adapt``.
        leaves: meta-parameters that require a gradient.
        batch: tasks with a leading [T].

    Raises:
        InputError: see ``mamlkit.core.inner_loop.inner_loop`` and ``check_differentiable``.
    """
    check_scored(step)
    names, device = problem.adapted, pytree.tree_leaves(batch)[0].device

    def move(moved: Moved, k: int) -> tuple[Moved, Tensor, InnerTrace]:
        def task(own: Moved, episode: Episode) -> tuple[Moved, Tensor, InnerTrace]:
            params, state = {**leaves.model, **own[0]}, own[1]
            params, state, loss, row = advance(problem, leaves, buffers, episode, step, k=k, params=params, state=state)
            return ({name: params[name] for name in names}, state), loss, row

        return map_tasks(task, moved, batch)  # type: ignore[no-any-return]

    with torch.no_grad():
        params, state = begin(problem, leaves, step)
        _check_state(problem, state)
        start: Moved = ({name: params[name] for name in names}, state)
        moved = pytree.tree_map(lambda x: x.detach().expand(count(batch), *x.shape), start)
        visited, losses, rows = [], [], []
        for k in range(len(step.loss_weights)):
            visited.append((moved, generator_states(device)))
            moved, loss, row = move(moved, k)
            losses.append(loss)
            rows.append(row)
    total = _back(move, visited, leaves, names, step)
    return total, torch.stack(losses).sum(0), stack_rows(rows, 1)


def _back(
    move: Callable[[Moved, int], tuple[Moved, Tensor, InnerTrace]],
    visited: list[tuple[Moved, list[Tensor]]],
    leaves: MetaParams,
    names: tuple[str, ...],
    step: StepConfig,
) -> list[Tensor]:
    """Return the derivative with respect to each leaf, going back from the outputs of each step to its inputs."""
    tensors = pytree.tree_leaves(tuple(leaves))
    total = [torch.zeros_like(tensor) for tensor in tensors]
    adjoint = [torch.zeros_like(value) for value in pytree.tree_leaves(visited[0][0])]
    device = tensors[0].device
    ended = generator_states(device)
    for k in reversed(range(len(visited))):
        moved, states = visited[k]
        restore_generators(states, device)
        own = pytree.tree_map(lambda value: value.detach().requires_grad_(value.is_floating_point()), moved)
        after, loss, _ = move(own, k)
        if step.loss_weights[k]:
            check_differentiable(loss)
        inputs = pytree.tree_leaves(own)
        outputs, seeds = [*pytree.tree_leaves(after), loss], [*adjoint, torch.ones_like(loss)]
        found = _grad(outputs, [*inputs, *tensors], seeds)
        adjoint = found[: len(inputs)]
        total = [a + b for a, b in zip(total, found[len(inputs) :])]
    restore_generators(ended, device)
    by_start = dict(zip(names, (value.sum(0) for value in adjoint)))  # the state at the start is a constant
    keys = [*leaves.model, *([""] * (len(tensors) - len(leaves.model)))]  # the rule's tensors come last
    return [value + by_start.get(name, 0.0) for name, value in zip(keys, total)]


def _grad(outputs: list[Tensor], inputs: list[Tensor], seeds: list[Tensor]) -> list[Tensor]:
    told = [(output, seed) for output, seed in zip(outputs, seeds) if output.requires_grad]
    outputs, seeds = [output for output, _ in told], [seed for _, seed in told]
    real = [value for value in inputs if value.requires_grad]  # a counter in the rule's state has no derivative
    found = iter(torch.autograd.grad(outputs, real, seeds, allow_unused=True, materialize_grads=True))
    return [next(found) if value.requires_grad else torch.zeros_like(value) for value in inputs]


def _check_state(problem: Problem, state: Any) -> None:
    for leaf in pytree.tree_leaves(state):
        if not isinstance(leaf, Tensor):
            raise InputError(
                f"the rule {problem.rule!r} has {leaf!r} in its state; with memory = 'low' only tensors are allowed"
            )
