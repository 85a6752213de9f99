"""The exercises of notebook 09: right answers pass, and each wrong one is told what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from exercises import assert_right, assert_told


def interval(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std(ddof=1) / np.sqrt(len(accuracies))


def paired_interval(first, second):
    return interval(second - first)


def interval_by_t(accuracies):
    mean, half = interval(accuracies)
    return mean, half * 2.023 / 1.96  # Student's t for 40 episodes


def half_of(formula):
    return lambda a: (a.mean(), formula(a))


RIGHT = [
    ("9.1", interval),
    ("9.1", interval_by_t),
    ("9.1", half_of(lambda a: 1.959964 * a.std() / np.sqrt(len(a)))),
    ("9.2", paired_interval),
    ("9.2", lambda a, b: interval_by_t(b - a)),
]
WRONG = [
    ("9.1", lambda a: (100 * a.mean(), interval(a)[1]), "the mean of these accuracies is"),
    ("9.1", half_of(lambda a: a.std(ddof=1)), "standard deviation of one episode"),
    ("9.1", half_of(lambda a: 1.96 * a.std(ddof=1)), "divide by the square root of their number"),
    ("9.1", half_of(lambda a: 1.96 * a.std(ddof=1) / len(a)), "not by the number itself"),
    ("9.1", half_of(lambda a: a.std(ddof=1) / np.sqrt(len(a))), "standard error"),
    ("9.1", half_of(lambda a: 2 * 1.96 * a.std(ddof=1) / np.sqrt(len(a))), "whole width"),
    ("9.1", half_of(lambda a: np.sqrt(a.mean() * (1 - a.mean()))), "yes or no"),
    ("9.1", half_of(lambda a: 0.5), "is right"),
    ("9.2", lambda a, b: interval(a - b), "sign is turned"),
    ("9.2", lambda a, b: interval(b), "the mean of second - first"),
    ("9.2", lambda a, b: (b.mean() - a.mean(), np.hypot(interval(a)[1], interval(b)[1])), "two sets of different"),
    (
        "9.2",
        lambda a, b: (b.mean() - a.mean(), interval(b - a)[1] / 1.96),
        "the interval of the mean of the differences",
    ),
]


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_a_right_answer_is_accepted(number: str, answer, capsys) -> None:
    assert_right(number, answer, capsys)


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number: str, answer, message: str, capsys) -> None:
    assert_told(number, answer, message, capsys)
