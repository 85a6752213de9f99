"""The exercises of notebook 09."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mamlkit.show.course.exercise import exercise, require, returned
from mamlkit.training.evaluation import Z95

Values = NDArray[np.float64]  # [E], an accuracy for each episode
Interval = tuple[float, float]
FIRST = [0.4, 0.9, 0.6, 0.7, 0.5, 0.8, 1.0, 0.3]
SECOND = [0.5, 0.9, 0.8, 0.7, 0.7, 0.8, 1.0, 0.6]


@exercise(
    "9.1",
    "interval(accuracies)",
    "Two numbers: the mean, and how far the mean of E values scatters. One value scatters by their standard deviation.",
    "The mean of E values scatters less, by sqrt(E); 95 % of a bell curve lie within 1.96 of that.",
    "accuracies.mean(), 1.96 * accuracies.std(ddof=1) / np.sqrt(len(accuracies))",
)
def check_interval(interval: Callable[[Values], Interval]) -> None:
    """Accept the mean and the half-width, with 1.96 or a t quantile; name the common mistakes."""
    values = np.array(FIRST * 5)
    mean, half = (float(x) for x in returned(interval(values)))
    require(
        abs(mean - values.mean()) < 1e-9,
        f"the first number is {mean:.3g}; the mean of these accuracies is {values.mean():.3g}.",
    )
    deviation, right = values.std(ddof=1), Z95 * values.std(ddof=1) / np.sqrt(len(values))
    slips = {
        "that is the standard deviation of one episode; the mean of E of them scatters less.": deviation,
        "that is how far one episode scatters; divide by the square root of their number.": Z95 * deviation,
        "divide by the square root of the number of episodes, not by the number itself.": right / np.sqrt(len(values)),
        "that is the standard error: 68 %. For 95 % multiply by 1.96.": right / Z95,
        "that is the whole width; the number after the +- is half of it.": 2 * right,
        "that is the standard deviation of a yes or no, sqrt(p (1 - p)); it knows nothing about episodes.": np.sqrt(
            mean * (1 - mean)
        ),
    }
    for sentence, slip in slips.items():
        require(abs(half / slip - 1) > 1e-3, sentence)
    require(abs(half / right - 1) < 0.05, f"the second number is {half:.3g}; {right:.3g} is right.")


@exercise(
    "9.2",
    "paired_interval(first, second)",
    "Both learners met the same episodes, so subtract episode by episode before anything else.",
    "difference = second - first, one number for each episode; then the interval of its mean, as in exercise 9.1.",
    "difference.mean(), 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))",
)
def check_paired_interval(paired: Callable[[Values, Values], Interval]) -> None:
    """Accept the interval of the mean difference; name a wrong sign and an interval that ignores the pairs."""
    first, second = np.array(FIRST * 5), np.array(SECOND * 5)
    difference, n = second - first, len(first)
    mean, half = (float(x) for x in returned(paired(first, second)))
    require(abs(mean + difference.mean()) > 1e-9, "the sign is turned: a better second should give a positive number.")
    require(
        abs(mean - difference.mean()) < 1e-9,
        f"the first number is {mean:.3g}; the mean of second - first is {difference.mean():.3g}.",
    )
    right = Z95 * difference.std(ddof=1) / np.sqrt(n)
    apart = Z95 * np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / n)
    forgets = abs(half / apart - 1) < 0.03
    require(not forgets, "that is the interval for two sets of different episodes; take the differences first.")
    require(
        abs(half / right - 1) < 0.05,
        f"the second number is {half:.3g}; the interval of the mean of the differences is +- {right:.3g}.",
    )
