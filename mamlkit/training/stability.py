"""Whether a training diverged, was unstable, or stayed steady: one definition for every table and page.

A run DIVERGED if a step was refused because its meta-gradient was not finite; or if its last validation accuracy is
below half of its best; or if it never rose above twice chance (for two classes: above 75 %); or if it reached its time
limit. It was UNSTABLE if it did not diverge, but its validation accuracy once fell more than 10 points below the best
before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DIVERGED, UNSTABLE, STEADY = "diverged", "unstable", "steady"
LOST_SHARE = 0.5  # of the best validation accuracy
FALL = 0.10


class Outcome(NamedTuple):
    """The course of a run's validation accuracy, and the state of the run.

    Attributes:
        best, last: validation accuracy, fraction.
        fall: the largest fall below an earlier best.
        state: ``DIVERGED``, ``UNSTABLE`` or ``STEADY``.
        why: the reasons; empty if the run is steady.
    """

    best: float
    last: float
    fall: float
    state: str
    why: str


def outcome(accuracies: Sequence[float], n_way: int, *, refused: int, limit: float = math.nan) -> Outcome:
    """Return the outcome of a run.

    Args:
        accuracies: validation accuracy after each epoch, fraction; at least one.
        n_way: classes of an episode.
        refused: number of steps refused because their meta-gradient was not finite.
        limit: the time limit that the run reached, seconds; NaN if it reached none.

    >>> outcome([0.5, 0.7, 0.3], 5, refused=0).why
    'ended at 30 % after 70 %'
    """
    values = np.asarray(accuracies, dtype=float)
    best, last = float(values.max()), float(values[-1])
    fall = float((np.maximum.accumulate(values) - values).max())
    floor = min(2 / n_way, (1 + 1 / n_way) / 2)
    reasons = {
        f"not finished in {limit:g} seconds": not math.isnan(limit),
        f"steps refused: {refused}": refused > 0,
        f"ended at {100 * last:.0f} % after {100 * best:.0f} %": last < LOST_SHARE * best,
        f"never above {100 * floor:.0f} %": best <= floor,
    }
    why = "; ".join(reason for reason, holds in reasons.items() if holds)
    state = DIVERGED if why else UNSTABLE if fall > FALL else STEADY
    return Outcome(best, last, fall, state, why or (f"fell by {100 * fall:.0f} points" if state == UNSTABLE else ""))
