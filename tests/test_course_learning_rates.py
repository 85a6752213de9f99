"""The exercises of notebook 07: each usual slip is told what it is."""

from __future__ import annotations

import pytest
import torch
from exercises import assert_right, assert_told


def products(query, inner):
    return torch.stack([-(q * g).sum() for q, g in zip(query, inner)])


def layer_of(row):
    return row.rsplit(".", 1)[0]


def tie_layers(gradient, rows):
    return torch.stack(
        [gradient[[i for i, r in enumerate(rows) if layer_of(r) == layer_of(row)]].sum(0) for row in rows]
    )


def tie_in_place(gradient, rows):
    gradient[0::2] += gradient[1::2]
    gradient[1::2] = gradient[0::2]
    return gradient


def tie_by(key):
    return lambda g, rows: torch.stack(
        [g[[i for i, r in enumerate(rows) if key(r) == key(row)]].sum(0) for row in rows]
    )


def cosines(query, inner):
    return torch.stack([-torch.cosine_similarity(q.flatten(), g.flatten(), 0) for q, g in zip(query, inner)])


WRONG = [
    ("7.1", lambda q, g: -products(q, g), "the sign is wrong"),
    ("7.1", lambda q, g: products(q, g).sum(), "one number for all tensors"),
    ("7.1", lambda q, g: products(q, g)[:1].expand(3), "has shape [3]; [2] is right"),
    ("7.1", lambda q, g: products(q, g) / torch.tensor([4.0, 2.0]), "takes the mean"),
    ("7.1", cosines, "that is the cosine"),
    ("7.1", lambda q, g: 2 * products(q, g), "a finite difference gives [-3.0, 1.0]"),
    ("7.2", tie_in_place, "changed the gradient"),
    ("7.2", lambda g, rows: tie_layers(g, rows)[::2], "one row for each layer"),
    ("7.2", lambda g, rows: tie_layers(g, rows).T, "has shape [2, 6]; [6, 2] is right"),
    ("7.2", lambda g, rows: tie_layers(g, rows) / 2, "the mean of the two rows"),
    ("7.2", tie_by(lambda row: row.rsplit(".", 1)[1]), "ties all weights"),
    ("7.2", tie_by(lambda row: row.split(".")[0]), "ties all convolutions"),
    ("7.2", lambda g, rows: g.clone(), "is not the sum over the rows of its layer"),
]


@pytest.mark.parametrize(("number", "answer"), [("7.1", products), ("7.2", tie_layers)])
def test_a_right_answer_is_accepted(number, answer, capsys) -> None:
    assert_right(number, answer, capsys)


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number, answer, message, capsys) -> None:
    assert_told(number, answer, message, capsys)
