"""The exercises of notebook 10: right answers pass, and each wrong one is told what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exercises import assert_right, assert_told


def grey_of(image):
    return image.mean(-1) / 255 if image.ndim == 3 else image / 255


def as_ink(image):
    grey = grey_of(image)
    return 1 - grey if grey.mean() > 0.5 else grey


def in_place(image):
    np.invert(image, out=image)
    return grey_of(image)


def confusion(given, true, n_way):
    table = torch.zeros(n_way, n_way, dtype=torch.int64)
    for t, g in zip(true, given):
        table[t, g] += 1
    return table


def overwritten(given, true, n_way):
    table = torch.zeros(n_way, n_way, dtype=torch.int64)
    table[true, given] += 1
    return table


def only_right_ones(given, true, n_way):
    return confusion(given[given == true], true[given == true], n_way)


RIGHT = [
    ("10.1", as_ink),
    ("10.1", lambda image: torch.from_numpy(as_ink(image))),
    ("10.2", confusion),
    ("10.2", lambda given, true, n: torch.bincount(true * n + given, minlength=n * n).reshape(n, n)),
    ("10.2", lambda given, true, n: confusion(given, true, n).double()),
]
WRONG = [
    ("10.1", in_place, "changed the picture"),
    ("10.1", lambda image: as_ink(image)[None], "has shape"),
    ("10.1", lambda image: image / 255, "came out dark on light|has shape"),
    ("10.1", lambda image: 255 * as_ink(image), "0 to 1 is right"),
    ("10.1", grey_of, "the start knows light ink on dark"),
    ("10.1", lambda image: 1 - grey_of(image), "that paper was dark already"),
    ("10.1", lambda image: 0.5 * as_ink(image), "not as strong"),
    ("10.2", lambda given, true, n: confusion(true, given, n), "turned"),
    ("10.2", overwritten, "counts 1"),
    ("10.2", only_right_ones, "counts 2 pictures"),
    ("10.2", lambda given, true, n: confusion(given, true, 3), "[4, 4] is right"),
    ("10.2", lambda given, true, n: confusion(given.roll(1), true, n), "wrong cell"),
]


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_a_right_answer_is_accepted(number: str, answer, capsys) -> None:
    assert_right(number, answer, capsys)


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number: str, answer, message: str, capsys) -> None:
    assert_told(number, answer, message, capsys)
