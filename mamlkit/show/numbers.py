"""Format numbers for printing."""

from __future__ import annotations

import math


def percent(value: float, half: float | None = None, *, sign: str = "") -> str:
    """Return a fraction in percent with two decimals, then ± and half the width of its interval; a dash stands for NaN.

    >>> percent(0.98765), percent(0.9, 0.0123), percent(0.9, float("nan")), percent(0.01, sign="+")
    ('98.77', '90.00 ± 1.23', '90.00 ± –', '+1.00')
    >>> percent(0.98765, 0.00123)
    '98.77 ± 0.12'
    """
    number = "–" if math.isnan(value) else f"{100 * value:{sign}.2f}"
    return number if half is None else f"{number} ± {percent(half)}"


def share_of(count: int, n: int, *, low: float, high: float) -> str:
    """Return a number of runs, its share in percent, and the interval of the share, from ``low`` to ``high``.

    >>> share_of(1, 4, low=0.046, high=0.699)
    '1 of 4: 25 % (5 to 70)'
    """
    return f"{count} of {n}: {100 * count / n:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
