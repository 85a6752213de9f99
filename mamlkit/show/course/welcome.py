"""The exercises of notebook 00."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned


@exercise(
    "0.1",
    "chance(n_way)",
    "A guess picks each of the n_way classes equally often.",
    "It is right once in n_way times. Return that as a fraction, not as a percentage.",
)
def check_chance(chance: Callable[[int], float]) -> None:
    """Accept any function that returns 1 / n_way."""
    for n_way in (2, 5, 20):
        got = float(returned(chance(n_way)))
        require(got <= 1, f"chance({n_way}) is {got:g}; it should be a fraction between 0 and 1.")
        require(
            abs(got - 1 / n_way) < 1e-9,
            f"chance({n_way}) is {got:g}; guessing among {n_way} is right more or less often.",
        )


@exercise(
    "0.2",
    "nearest(support_x, support_y, query_x)",
    "Flatten each image to a row. torch.cdist gives all distances between two sets of rows.",
    "torch.cdist(query_x.flatten(1), support_x.flatten(1)).argmin(1) is the place of the nearest support image.",
    "That place is not a label yet: look it up in support_y.",
)
def check_nearest(nearest: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Accept any function that returns the label of the nearest support image for each query image."""
    generator = torch.Generator().manual_seed(0)
    support_x = torch.rand(6, 1, 8, 8, generator=generator)
    support_y = torch.tensor([2, 0, 1, 1, 2, 0])
    order = torch.tensor([5, 0, 3, 1, 4, 2, 2])
    query_x = support_x[order] + 0.01 * torch.rand(7, 1, 8, 8, generator=generator)
    got = torch.as_tensor(returned(nearest(support_x, support_y, query_x)))
    require(got.shape == (7,), f"for 7 query images the result has shape {tuple(got.shape)}; one label each is [7].")
    require(
        not torch.equal(got, order),
        "it returns the place of the nearest support image; look up its label in support_y.",
    )
    wrong = int((got != support_y[order]).sum())
    require(
        wrong == 0, f"{wrong} of 7 query images that nearly equal a support image get another label than that image."
    )
