"""The exercises of notebook 05."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned


@exercise(
    "5.1",
    "chain_of_steps(hessians, rate)",
    "One step has the derivative I - rate * H. Two steps: multiply their matrices.",
    "The step taken first stands on the right, next to the start: (I - rate * H_1) @ (I - rate * H_0).",
    "Begin with torch.eye(n); for each hessian, chain = (torch.eye(n) - rate * hessian) @ chain.",
)
def check_chain_of_steps(chain_of_steps: Callable[[list[Tensor], float], Tensor]) -> None:
    """Accept the product with the last step on the left; name the common mistakes."""
    hessians = [
        torch.tensor(rows) for rows in ([[2.0, 1.0], [1.0, 0.5]], [[1.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [1.0, 2.0]])
    ]
    rate, eye = 0.3, torch.eye(2)
    got = torch.as_tensor(returned(chain_of_steps([hessian.clone() for hessian in hessians], rate)))
    require(got.shape == (2, 2), f"the result has shape {list(got.shape)}; two parameters need a matrix [2, 2].")
    got = got.to(eye.dtype)
    factors = [eye - rate * hessian for hessian in hessians]
    right, backwards, entrywise = factors[2] @ factors[1] @ factors[0], factors[0] @ factors[1] @ factors[2], eye
    for factor in factors:
        entrywise = entrywise * factor
    slips = {
        "that is the identity, the first-order answer.": eye,
        "the order is the wrong way round: the step taken last stands on the left.": backwards,
        "the factors were multiplied entry by entry; use @ for matrices.": entrywise,
        "only one step is in it; multiply the matrices of all steps.": factors[-1],
        "the rate is missing: a step has the derivative I - rate * H.": _product(
            [eye - hessian for hessian in hessians]
        ),
        "the sign is wrong: a step goes against the gradient, so I - rate * H.": _product(
            [eye + rate * hessian for hessian in hessians]
        ),
    }
    for sentence, wrong in slips.items():
        require(not torch.allclose(got, wrong, atol=1e-5), sentence)
    require(
        torch.allclose(got, right, atol=1e-5),
        f"for three steps the entry [0, 0] is {got[0, 0]:.4g}; finite differences give {right[0, 0]:.4g}.",
    )


@exercise(
    "5.2",
    "saving(share, ratio)",
    "Let a second-order epoch cost 1. A first-order epoch then costs 1 / ratio.",
    "Each first-order epoch saves 1 - 1 / ratio, and there is a share of them.",
)
def check_saving(saving: Callable[[float, float], float]) -> None:
    """Accept the saved fraction of the total cost; name the common mistakes."""
    for share, ratio in ((1 / 3, 2.65), (0.5, 4.0)):
        got = float(returned(saving(share, ratio)))
        case = f"saving({share:.2g}, {ratio:g}) is {got:.3g}"
        slips = {
            "that is the remaining cost; the saving is the rest.": 1 - share * (1 - 1 / ratio),
            "that is the saving within the first-order epochs; they are only a share of the run.": 1 - 1 / ratio,
            "a first-order epoch saves 1 - 1 / ratio of a second-order one, not ratio - 1.": share * (ratio - 1),
            "that is the cost of the first-order epochs.": share / ratio,
            "that would be right if first-order epochs were free.": share,
        }
        for sentence, wrong in slips.items():
            require(abs(got - wrong) > 1e-6, f"{case}; {sentence}")
        right = share * (1 - 1 / ratio)
        require(abs(got - right) < 1e-6, f"{case}; pay for a run of 100 epochs both ways and compare.")


def _product(factors: list[Tensor]) -> Tensor:
    """Return the product of matrices, with the last one on the left."""
    product = factors[0]
    for factor in factors[1:]:
        product = factor @ product
    return product
