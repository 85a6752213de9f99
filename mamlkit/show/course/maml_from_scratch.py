"""The exercises of notebook 01."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned

Params = dict[str, Tensor]


@exercise(
    "1.1",
    "inner_step(params, gradients, rate)",
    "Build a new dictionary; keep the given one as it is.",
    "return {name: params[name] - rate * gradients[name] for name in params}",
)
def check_inner_step(inner_step: Callable[[Params, Params, float], Params]) -> None:
    """Accept any pure gradient step that keeps the graph."""
    start = torch.tensor([1.0, -2.0], requires_grad=True)
    params = {"weight": start * 1.0, "bias": torch.tensor([0.5])}
    gradients = {"weight": params["weight"] * 3.0, "bias": torch.tensor([1.0])}
    before = params["weight"].detach().clone()
    got = returned(inner_step(params, gradients, 0.1))
    require(torch.equal(params["weight"], before), "it changed the parameters it was given; return new ones.")
    require(
        isinstance(got, dict) and got.keys() == params.keys(), "the result should be a dictionary with the same names."
    )
    ascends = torch.allclose(got["weight"], before + 0.3 * before)
    require(not ascends, "the loss would rise: the step goes along the gradient, not against it.")
    right = torch.allclose(got["weight"], before - 0.3 * before) and torch.allclose(got["bias"], torch.tensor([0.4]))
    require(right, "the new values are not params - rate * gradients.")
    keeps = got["weight"].requires_grad
    require(keeps, "the result has lost its graph (detach, .data or no_grad); the outer loop needs it.")
    [slope] = torch.autograd.grad(got["weight"].sum(), start)
    require(
        torch.allclose(slope, torch.full((2,), 0.7)),
        "the outer derivative through the step is off: part of the step was detached.",
    )


@exercise(
    "1.2",
    "toy_meta_gradient(theta, a, b, c, rate)",
    "Adapt first: phi = theta - rate * (gradient of the support loss at theta).",
    "The gradient of c * (theta - a)**2 / 2 is c * (theta - a), so phi = theta - rate * c * (theta - a).",
    "Chain rule: the query loss has slope (phi - b) in phi, and phi has slope (1 - rate * c) in theta.",
)
def check_toy_meta_gradient(toy: Callable[[float, float, float, float, float], float]) -> None:
    """Accept the closed form or autograd; name the three common mistakes."""
    for theta, a, b, c, rate in [(1.0, 3.0, -1.0, 2.0, 0.1), (-0.5, 0.25, 2.0, 4.0, 0.3)]:
        got = float(returned(toy(theta, a, b, c, rate)))
        phi = theta - rate * c * (theta - a)
        right, first_order, unadapted = (phi - b) * (1 - rate * c), phi - b, theta - b
        require(
            abs(got - first_order) > 1e-6, "that is the first-order gradient: the factor d phi / d theta is missing."
        )
        require(
            abs(got - unadapted) > 1e-6, "that is the gradient at theta: the query loss belongs to phi, after the step."
        )
        require(
            abs(got - right) < 1e-5, f"for theta = {theta:g} it is {got:.4g}; a finite difference gives {right:.4g}."
        )
