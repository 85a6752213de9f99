"""The exercises of notebook 08: each usual slip is told what it is."""

from __future__ import annotations

import pytest
from exercises import assert_right, assert_told


def paired(a, b):
    return (a - b).mean(), 4.303 * (a - b).std() / 3**0.5


def head_step(params, gradients, rate):
    return {name: p - rate * gradients[name] if name.startswith("head.") else p for name, p in params.items()}


def in_place(params, gradients, rate):
    for name in params:
        if name.startswith("head."):
            params[name] = params[name] - rate * gradients[name]
    return params


def boil_step(params, gradients, rate):
    return {name: p if name.startswith("head.") else p - rate * gradients[name] for name, p in params.items()}


def only_weight(params, gradients, rate):
    return {name: p - rate * gradients[name] if name == "head.weight" else p for name, p in params.items()}


WRONG = [
    ("8.1", lambda a, b: paired(b, a), "the sign is wrong"),
    ("8.1", lambda a, b: (a.mean(), paired(a, b)[1]), "the mean difference of the test's runs is 0.02"),
    ("8.1", lambda a, b: (paired(a, b)[0], 4.303 * (a.var() + b.var()).sqrt() / 3**0.5), "unrelated"),
    ("8.1", lambda a, b: (paired(a, b)[0], 4.303 * (a - b).std()), "the spread of one difference"),
    ("8.1", lambda a, b: (paired(a, b)[0], (a - b).std() / 3**0.5), "one standard error"),
    ("8.1", lambda a, b: (paired(a, b)[0], 1.96 * (a - b).std() / 3**0.5), "1.96 is for many seeds"),
    ("8.1", lambda a, b: (paired(a, b)[0], 4.303 * (a - b).std(correction=0) / 3**0.5), "divides by n - 1"),
    ("8.1", lambda a, b: (paired(a, b)[0], 2 * paired(a, b)[1]), "half the interval of the test's runs is 0.0248"),
    ("8.2", in_place, "changed the parameters"),
    ("8.2", lambda p, g, r: {n: t for n, t in head_step(p, g, r).items() if n.startswith("head.")}, "all names"),
    ("8.2", boil_step, "that is BOIL"),
    ("8.2", lambda p, g, r: {n: t - r * g[n] for n, t in p.items()}, "in ANIL the body stays"),
    ("8.2", only_weight, "head.bias has not moved"),
    ("8.2", lambda p, g, r: head_step(p, g, -r), "are not params - rate * gradients"),
    ("8.2", lambda p, g, r: {n: t.detach() for n, t in head_step(p, g, r).items()}, "lost its graph"),
]


@pytest.mark.parametrize(("number", "answer"), [("8.1", paired), ("8.2", head_step)])
def test_a_right_answer_is_accepted(number, answer, capsys) -> None:
    assert_right(number, answer, capsys)


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number, answer, message, capsys) -> None:
    assert_told(number, answer, message, capsys)
