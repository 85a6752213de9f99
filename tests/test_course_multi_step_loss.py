"""The exercises of notebook 04 accept right answers and name what is wrong with the others."""

from __future__ import annotations

import pytest
import torch
from exercises import assert_right, assert_told


def toy(theta, a, b, c, rate, weights, *, chained=True, first=0, whole=False):
    """The right slope, and by its options the usual wrong ones."""
    gradient, chain = 0.0, 1.0
    for k, weight in enumerate(weights):
        if k >= first:
            theta, chain = theta - rate * c * (theta - a), chain * (1 - rate * c)
        factor = (1 - rate * c) ** len(weights) if whole else chain
        gradient += weight * (factor if chained else 1.0) * (theta - b)
    return gradient


def by_autograd(theta, a, b, c, rate, weights):
    start = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    moved, loss = start, 0.0
    for weight in weights:
        moved = moved - rate * c * (moved - a)
        loss = loss + weight * (moved - b) ** 2 / 2
    return torch.autograd.grad(loss, start)[0]


RIGHT = [
    ("4.1", toy),
    ("4.1", by_autograd),
    ("4.2", lambda n_steps, epochs, ramp: ramp * n_steps + epochs - ramp),
]
WRONG = [
    ("4.1", lambda t, a, b, c, r, w: toy(t, a, b, c, r, [*[0.0] * (len(w) - 1), w[-1]]), "only the last loss"),
    ("4.1", lambda t, a, b, c, r, w: toy(t, a, b, c, r, [1.0] * len(w)), "plain sum"),
    ("4.1", lambda t, a, b, c, r, w: toy(t, a, b, c, r, w, chained=False), "first-order"),
    ("4.1", lambda t, a, b, c, r, w: toy(t, a, b, c, r, w, first=1), "loss is that of theta_0"),
    ("4.1", lambda t, a, b, c, r, w: toy(t, a, b, c, r, w, whole=True), "the k-th loss has k factors"),
    ("4.1", lambda t, a, b, c, r, w: 1.0, "finite difference"),
    ("4.2", lambda n_steps, epochs, ramp: epochs, "plain MAML"),
    ("4.2", lambda n_steps, epochs, ramp: epochs * n_steps, "first release"),
    ("4.2", lambda n_steps, epochs, ramp: ramp * n_steps + epochs, "10 too many"),
    ("4.2", lambda n_steps, epochs, ramp: 7, "apart"),
]


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_a_right_answer_is_accepted(number, answer, capsys) -> None:
    assert_right(number, answer, capsys)


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number, answer, message, capsys) -> None:
    assert_told(number, answer, message, capsys)
