"""The exercises of notebook 06 name what is wrong with an answer."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from exercises import assert_told


def normalise(x, mean, var, weight, bias, *, along=(-1, 1, 1), power=0.5):
    mean, var, weight, bias = (v.reshape(along) for v in (mean, var, weight, bias))
    return weight * (x - mean) / (var + 1e-5) ** power + bias


def record(running, batch, step, momentum):
    new = running.clone()
    new[step] = (1 - momentum) * running[step] + momentum * batch
    return new


def record_in_place(running, batch, step, momentum):
    running[step] = (1 - momentum) * running[step] + momentum * batch
    return running


WRONG = [
    ("6.1", lambda x, m, v, w, b: x.mean((2, 3)), "has shape [2, 4]"),
    ("6.1", lambda x, m, v, w, b: normalise(x, m, v, w, b, along=(1, 1, -1)), "along the width"),
    ("6.1", lambda x, m, v, w, b: normalise(x, m, v, w, b, power=1.0), "divides by the variance"),
    ("6.1", lambda x, m, v, w, b: F.batch_norm(x, None, None, w, b, training=True), "batch's own statistics"),
    ("6.1", lambda x, m, v, w, b: x, "it is not weight"),
    ("6.2", record_in_place, "changed the table"),
    ("6.2", lambda r, b, s, m: record(r, b, s, m)[s], "the whole table"),
    ("6.2", lambda r, b, s, m: (1 - m) * r + m * b, "rows of other steps"),
    ("6.2", lambda r, b, s, m: record(r, b, s, 1 - m), "the two shares are swapped"),
    ("6.2", lambda r, b, s, m: r.clone(), "row 1 is not"),
]


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number, answer, message, capsys) -> None:
    assert_told(number, answer, message, capsys)
