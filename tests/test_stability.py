"""When a training counts as diverged, unstable or steady."""

from __future__ import annotations

import doctest
import math

import pytest

from mamlkit.training import stability
from mamlkit.training.stability import DIVERGED, STEADY, UNSTABLE, outcome


@pytest.mark.parametrize(
    ("accuracies", "n_way", "refused", "limit", "state", "why"),
    [
        ([0.5, 0.7, 0.8], 5, 0, math.nan, STEADY, ""),
        ([0.5, 0.8, 0.71], 5, 0, math.nan, STEADY, ""),
        ([0.5, 0.8, 0.69, 0.8], 5, 0, math.nan, UNSTABLE, "fell by 11 points"),
        ([0.5, 0.8, 0.39], 5, 0, math.nan, DIVERGED, "ended at 39 % after 80 %"),
        ([0.5, 0.8, 0.40], 5, 0, math.nan, UNSTABLE, "fell by 40 points"),
        ([0.2, 0.4, 0.3], 5, 0, math.nan, DIVERGED, "never above 40 %"),
        ([0.6, 0.75, 0.7], 2, 0, math.nan, DIVERGED, "never above 75 %"),
        ([0.6, 0.76, 0.75], 2, 0, math.nan, STEADY, ""),
        ([0.5, 0.7, 0.8], 5, 2, math.nan, DIVERGED, "steps refused: 2"),
        ([0.5], 5, 0, 600.0, DIVERGED, "not finished in 600 seconds"),
        ([0.3, 0.1], 5, 1, math.nan, DIVERGED, "steps refused: 1; ended at 10 % after 30 %; never above 40 %"),
    ],
)
def test_a_run_has_the_state_of_its_course_and_its_reasons(
    accuracies: list[float], n_way: int, refused: int, limit: float, state: str, why: str
) -> None:
    found = outcome(accuracies, n_way, refused=refused, limit=limit)
    assert (found.state, found.why) == (state, why)
    assert (found.best, found.last) == (max(accuracies), accuracies[-1])


def test_the_example_in_the_docstring_is_right() -> None:
    result = doctest.testmod(stability)
    assert (result.attempted, result.failed) == (1, 0)
