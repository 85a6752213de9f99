"""The exercises of notebook 08."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned

Params = dict[str, Tensor]
T95 = 4.303  # two-sided 95 % quantile of Student's t with 2 degrees of freedom: three seeds


@exercise(
    "8.1",
    "paired_difference(with_fix, without)",
    "Subtract seed by seed first: difference = with_fix - without. Both runs of a seed share weights and episodes.",
    "The interval is over the three differences: 4.303 * difference.std() / 3 ** 0.5.",
    "return difference.mean(), 4.303 * difference.std() / len(difference) ** 0.5",
)
def check_paired_difference(paired_difference: Callable[[Tensor, Tensor], tuple[float, float]]) -> None:
    """Accept any function that returns the mean difference and half the width of its t-interval."""
    with_fix = torch.tensor([0.80, 0.91, 0.87], dtype=torch.float64)
    without = torch.tensor([0.78, 0.88, 0.86], dtype=torch.float64)
    difference = with_fix - without
    sd, root = float(difference.std()), math.sqrt(3)
    mean, half = (float(value) for value in returned(paired_difference(with_fix, without)))
    require(abs(mean + 0.02) > 1e-6, "the sign is wrong: a fix that helps has a positive difference.")
    require(abs(mean - 0.02) < 1e-6, f"the mean difference of the test's runs is 0.02; it gives {mean:.4g}.")
    wrong = {
        T95 * float((with_fix.var() + without.var()).sqrt()) / root: "the two are treated as unrelated; subtract seed "
        "by seed, and take the spread of the differences.",
        T95 * sd: "that is the spread of one difference; the mean of three varies less, by the root of 3.",
        sd / root: "that is one standard error; times 4.303 it is the 95 % interval.",
        1.96 * sd / root: "1.96 is for many seeds; for three, Student's t says 4.303.",
        T95 * float(difference.std(correction=0)) / root: "the standard deviation divides by n - 1 = 2, not by 3.",
    }
    for value, sentence in wrong.items():
        require(abs(half - value) > 1e-6, sentence)
    right = T95 * sd / root
    require(abs(half - right) < 1e-3 * right, f"half the interval of the test's runs is {right:.4f}; it is {half:.4f}.")


@exercise(
    "8.2",
    "head_step(params, gradients, rate)",
    "Build a new dictionary with all names; a name that does not begin with 'head.' keeps its tensor.",
    "return {n: p - rate * gradients[n] if n.startswith('head.') else p for n, p in params.items()}",
)
def check_head_step(head_step: Callable[[Params, Params, float], Params]) -> None:
    """Accept any pure step that adapts only the head."""
    start = torch.tensor([1.0, -2.0], requires_grad=True)
    params = {"convs.0.weight": torch.tensor([3.0]), "head.weight": start * 1.0, "head.bias": torch.tensor([0.5])}
    gradients = {"convs.0.weight": torch.tensor([1.0]), "head.weight": start * 2.0, "head.bias": torch.tensor([4.0])}
    before = {name: p.detach().clone() for name, p in params.items()}
    got = returned(head_step(params, gradients, 0.1))
    same = all(torch.equal(params[name], p) for name, p in before.items())
    require(same, "it changed the parameters it was given; return new ones.")
    require(
        isinstance(got, dict) and got.keys() == params.keys(),
        "the result should be a dictionary with all names; the network needs the body too.",
    )
    body, bias = float(got["convs.0.weight"]), float(got["head.bias"])
    require(body == 3.0 or bias != 0.5, "that is BOIL: the body moves and the head stays. Do it the other way round.")
    require(body == 3.0, "convs.0.weight has moved; in ANIL the body stays.")
    require(bias != 0.5, "head.bias has not moved; the head is its weight and its bias.")
    right = torch.allclose(got["head.weight"], 0.8 * before["head.weight"]) and abs(bias - 0.1) < 1e-6
    require(right, "the head's new values are not params - rate * gradients.")
    require(got["head.weight"].requires_grad, "the result has lost its graph; the outer loop needs it.")
