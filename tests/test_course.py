"""check() accepts right answers, names what is wrong with the others, and never raises for the reader's mistake."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exercises import assert_right, assert_told

from mamlkit.core.errors import InputError
from mamlkit.show.course import check, hint
from mamlkit.show.course.exercise import EXERCISES

SOURCES = Path(__file__).parents[1] / "notebooks" / "source"


def answers() -> dict[str, object]:
    """Return the solved exercises of the notebooks' sources: number -> the function that is checked."""
    found = {}
    for path in sorted(SOURCES.glob("*.py")):
        for cell in path.read_text("utf-8").split("# %%"):
            asked = re.search(r'^check\("([\d.]+)", (\w+)\)', cell, re.MULTILINE)
            if asked:
                code = "\n".join(line for line in cell.splitlines()[1:] if not line.startswith("check("))
                names = {"torch": torch, "F": F, "np": np, "math": math}
                exec(code, names)
                found[asked[1]] = names[asked[2]]
    return found


RIGHT = answers()


def inner_step(params, gradients, rate):
    return {name: params[name] - rate * gradients[name] for name in params}


def split_classes(images, k_shot):
    return RIGHT["2.1"](images, k_shot)


def step_in_place(params, gradients, rate):
    for name in params:
        params[name] -= rate * gradients[name]
    return params


def step_detached(params, gradients, rate):
    return {name: (params[name] - rate * gradients[name]).detach() for name in params}


def step_half_detached(params, gradients, rate):
    return {name: params[name] - rate * gradients[name].detach() for name in params}


def split_overlapping(images, k_shot):
    support_x, support_y, _, _ = split_classes(images, k_shot)
    n_way, per_class = images.shape[:2]
    count = per_class - k_shot
    return support_x, support_y, images[:, :count].flatten(0, 1), torch.arange(n_way).repeat_interleave(count)


def split_mislabelled(images, k_shot):
    support_x, support_y, query_x, query_y = split_classes(images, k_shot)
    return support_x, support_y, query_x, query_y.roll(1)


WRONG = [
    ("0.1", lambda n_way: 100 / n_way, "fraction"),
    ("0.1", lambda n_way: 0.2, "guessing among 2"),
    ("0.2", lambda sx, sy, qx: torch.cdist(qx.flatten(1), sx.flatten(1)).argmin(1), "look up"),
    ("0.2", lambda sx, sy, qx: sy[torch.cdist(qx.flatten(1), sx.flatten(1)).argmax(1)], "another label"),
    ("0.2", lambda sx, sy, qx: sy, "shape"),
    ("1.1", step_in_place, "changed the parameters|RuntimeError"),
    ("1.1", step_detached, "lost its graph"),
    ("1.1", step_half_detached, "part of the step was detached"),
    ("1.1", lambda p, g, r: {n: p[n] + r * g[n] for n in p}, "rise"),
    ("1.1", lambda p, g, r: list(p), "dictionary"),
    ("1.2", lambda t, a, b, c, r: t - r * c * (t - a) - b, "first-order"),
    ("1.2", lambda t, a, b, c, r: t - b, "after the step"),
    ("1.2", lambda t, a, b, c, r: 1.0, "finite difference"),
    ("2.1", split_overlapping, "both sets"),
    ("2.1", split_mislabelled, "label is not"),
    ("2.1", lambda images, k: split_classes(images, k + 1), "6 and 9"),
    ("2.2", lambda s, q, p: (p[s], q), "query labels"),
    ("2.2", lambda s, q, p: (torch.argsort(p)[s], torch.argsort(p)[q]), "inverse"),
]


def test_every_exercise_has_an_answer_here() -> None:
    assert RIGHT.keys() == EXERCISES.keys()


@pytest.mark.parametrize("number", RIGHT)
def test_a_right_answer_is_accepted(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_right(number, RIGHT[number], capsys)


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number, answer, message, capsys) -> None:
    assert_told(number, answer, message, capsys)


@pytest.mark.parametrize("number", RIGHT)
@pytest.mark.parametrize("empty", [None, ..., lambda *arguments: None, lambda *arguments: ...])
def test_an_empty_answer_is_named_in_one_sentence(number: str, empty, capsys) -> None:
    check(number, empty)
    said = capsys.readouterr().out
    assert said == f"Exercise {number} is still empty: write {EXERCISES[number].name}, then run this cell again.\n"


@pytest.mark.parametrize("number", RIGHT)
def test_an_answer_that_raises_is_reported_without_a_traceback(number: str, capsys) -> None:
    check(number, lambda *arguments: 1 / 0)
    assert "not yet: your code raised ZeroDivisionError: division by zero" in capsys.readouterr().out


@pytest.mark.parametrize("number", RIGHT)
def test_hints_say_more_by_degrees_and_end(number: str, capsys) -> None:
    hints = EXERCISES[number].hints
    for level in range(1, len(hints) + 1):
        hint(number, level)
        assert capsys.readouterr().out.startswith(f"Hint {level} of {len(hints)} for exercise {number}: ")
    with pytest.raises(InputError, match="no hint"):
        hint(number, len(hints) + 1)


def test_an_unknown_exercise_is_an_input_error_that_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean '1\.1'"):
        check("1.11", None)
