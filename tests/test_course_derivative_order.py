"""The exercises of notebook 05 accept right answers and name what is wrong with the others."""

from __future__ import annotations

import pytest
import torch
from exercises import assert_right, assert_told


def chain(hessians, rate, *, turned=False, entrywise=False):
    """The right product, and by its options the usual wrong ones."""
    product = torch.eye(2)
    for hessian in reversed(hessians) if turned else hessians:
        factor = torch.eye(2) - rate * hessian
        product = factor * product if entrywise else factor @ product
    return product


RIGHT = [
    ("5.1", chain),
    ("5.1", lambda hessians, rate: chain(hessians, rate).double()),
    ("5.2", lambda share, ratio: share * (1 - 1 / ratio)),
]
WRONG = [
    ("5.1", lambda hessians, rate: torch.eye(2), "first-order"),
    ("5.1", lambda hessians, rate: chain(hessians, rate, turned=True), "wrong way round"),
    ("5.1", lambda hessians, rate: chain(hessians, rate, entrywise=True), "entry by entry"),
    ("5.1", lambda hessians, rate: torch.eye(2) - rate * hessians[-1], "only one step"),
    ("5.1", lambda hessians, rate: chain(hessians, 1.0), "rate is missing"),
    ("5.1", lambda hessians, rate: chain(hessians, -rate), "sign"),
    ("5.1", lambda hessians, rate: torch.ones(2, 2), "finite differences"),
    ("5.1", lambda hessians, rate: torch.ones(2), "[2, 2]"),
    ("5.2", lambda share, ratio: 1 - share * (1 - 1 / ratio), "remaining cost"),
    ("5.2", lambda share, ratio: 1 - 1 / ratio, "only a share"),
    ("5.2", lambda share, ratio: share * (ratio - 1), "not ratio - 1"),
    ("5.2", lambda share, ratio: share / ratio, "cost of the first-order epochs"),
    ("5.2", lambda share, ratio: share, "free"),
    ("5.2", lambda share, ratio: 0.0, "100 epochs"),
]


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_a_right_answer_is_accepted(number, answer, capsys) -> None:
    assert_right(number, answer, capsys)


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number, answer, message, capsys) -> None:
    assert_told(number, answer, message, capsys)
