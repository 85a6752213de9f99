"""The parts of the outer derivative: the meta-gradient of every inner step's query loss, layer by layer.

Training needs the meta-gradient of one weighted sum (``mamlkit.core.outer_loop``). Here one unrolled inner loop gives
the part of each step separately, for figures and tests.

Axis letter: ``K`` inner steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import adapt
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig
from mamlkit.core.transforms import Params


def meta_gradients_by_step(
    problem: Problem, meta: MetaParams, buffers: Params, episode: Episode, step: StepConfig
) -> Params:
    """Return the gradient with respect to the start of the query loss after each inner step.

        gradient_k = d/d theta_0  loss(f(query_x; theta_k), query_y),    k = 0..K

    Args:
        problem, meta, buffers: see ``mamlkit.core.inner_loop.adapt``.
        episode: one task.
        step: the length of its ``loss_weights`` is K; with ``second_order``, the derivative goes through the steps; the
            weights themselves are not used.

    Returns:
        name of a parameter -> [K + 1, *shape]; row 0 is the network before any step. The meta-gradient of a weighted
        loss is the weighted sum of the rows 1..K. Without ``second_order`` each row is the gradient at theta_k.

    Source: section 3.1 of the paper, which names the product of steps as the cause of exploding gradients.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in meta.model.items()}

    def gradient(params: Params, k: int) -> list[Tensor]:
        outputs, _ = problem.forward(params, buffers, episode.query_x, k, step.norm)
        loss = problem.cost(outputs, episode.query_y)
        return list(
            torch.autograd.grad(
                loss, list(leaves.values()), retain_graph=True, allow_unused=True, materialize_grads=True
            )
        )

    rows = [gradient(leaves, 0)]
    steps = adapt(problem, meta._replace(model=leaves), buffers, episode, step)
    rows += [gradient(taken.params, k) for k, taken in enumerate(steps)]
    return {
        name: torch.stack(column) for name, column in zip(leaves, zip(*rows))
    }  # K + 1 of [*shape] -> [K + 1, *shape]


def layer_grad_norms(gradients: Params) -> dict[str, Tensor]:
    """Return the l2 norm of each layer's gradient, and of all layers together.

    Args:
        gradients: name -> [K + 1, *shape], or weighted sums of its rows, [n, *shape].

    Returns:
        layer (``convs.0``, .., ``head``; a norm layer belongs to the convolution before it) -> [K + 1]; ``total`` last.
    """
    squares: dict[str, Tensor] = {}
    for name, gradient in gradients.items():
        layer = name.rsplit(".", 1)[0].replace("norms.", "convs.")
        square = gradient.flatten(1).square().sum(1)  # [K + 1, *shape] -> [K + 1]
        squares[layer] = squares.get(layer, torch.zeros_like(square)) + square
    norms = {layer: square.sqrt() for layer, square in squares.items()}
    return {**norms, "total": torch.stack(list(squares.values())).sum(0).sqrt()}
