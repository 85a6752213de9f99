"""The exercises of notebook 03 name what is wrong with an answer."""

from __future__ import annotations

import pytest
import torch
from exercises import assert_told


def product(hessians, rate, gradient, *, order=-1, sign=-1.0):
    for hessian in hessians[::order]:
        gradient = gradient + sign * rate * hessian @ gradient
    return gradient


def product_in_place(hessians, rate, gradient):
    for hessian in reversed(hessians):
        gradient -= rate * hessian @ gradient
    return gradient


WRONG = [
    ("3.1", lambda c: 0.0, "makes no step"),
    ("3.1", lambda c: 1 / c, "the factor is 0"),
    ("3.1", lambda c: 2 * c, "it should be 1"),
    ("3.2", product_in_place, "changed the gradient"),
    ("3.2", lambda h, r, g: product(h, r, g).sum(), "has shape []"),
    ("3.2", lambda h, r, g: g.clone(), "comes back as it was"),
    ("3.2", lambda h, r, g: product(h, r, g, order=1), "wrong order"),
    ("3.2", lambda h, r, g: product(h, r, g, sign=1.0), "not I + rate * H"),
    ("3.2", lambda h, r, g: torch.zeros_like(g), "it is not (I - rate H_0)"),
]


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number, answer, message, capsys) -> None:
    assert_told(number, answer, message, capsys)
