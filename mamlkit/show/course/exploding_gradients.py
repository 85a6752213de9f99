"""The exercises of notebook 03."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned


@exercise(
    "3.1",
    "largest_rate(curvature)",
    "Solve |1 - alpha * c| = 1 for alpha. One solution is 0; which is the other?",
    "1 - alpha * c = -1 gives alpha = 2 / c.",
)
def check_largest_rate(largest_rate: Callable[[float], float]) -> None:
    """Accept any function that returns 2 / curvature."""
    for curvature in (0.5, 2.0, 40.0):
        got = float(returned(largest_rate(curvature)))
        require(abs(got) > 1e-12, "a rate of 0 makes no step at all; look for the larger solution.")
        factor = abs(1 - got * curvature)
        require(
            abs(got - 1 / curvature) > 1e-9,
            f"for c = {curvature:g} it is {got:.3g}; there the factor is 0, not 1 in size.",
        )
        require(
            abs(factor - 1) < 1e-6,
            f"for c = {curvature:g} it is {got:.3g}, where the factor is {factor:.3g} in size; it should be 1.",
        )


@exercise(
    "3.2",
    "product(hessians, rate, gradient)",
    "One factor applied to a vector: (I - rate * H) @ v = v - rate * H @ v.",
    "The factor of the last step stands next to the gradient, so it is applied first: go through hessians backwards.",
    "for hessian in reversed(hessians): gradient = gradient - rate * hessian @ gradient",
)
def check_product(product: Callable[[list[Tensor], float, Tensor], Tensor]) -> None:
    """Accept any function that multiplies the factors in the right order and does not change its arguments."""
    generator = torch.Generator().manual_seed(0)
    hessians: list[Tensor] = []
    for _ in range(3):
        root: Any = torch.rand(4, 4, generator=generator, dtype=torch.float64)
        hessians.append(root @ root.T)
    vector = torch.rand(4, generator=generator, dtype=torch.float64)
    before, rate = vector.clone(), 0.3

    def multiply(order: list[Tensor], sign: float = -1.0) -> Tensor:
        result = vector.clone()
        for hessian in order:
            result = result + sign * rate * hessian @ result
        return result

    got = torch.as_tensor(returned(product(list(hessians), rate, vector)))
    require(torch.equal(vector, before), "it changed the gradient it was given; return a new vector.")
    require(got.shape == vector.shape, f"the result has shape {list(got.shape)}; {list(vector.shape)} is right.")
    require(not torch.allclose(got, vector), "the factors are missing: the gradient comes back as it was.")
    require(
        not torch.allclose(got, multiply(hessians)),
        "the factors are in the wrong order: the last step's factor meets the gradient first.",
    )
    require(
        not torch.allclose(got, multiply(hessians[::-1], 1.0)), "each factor should be I - rate * H, not I + rate * H."
    )
    require(torch.allclose(got, multiply(hessians[::-1])), "it is not (I - rate H_0) (I - rate H_1) .. gradient.")
