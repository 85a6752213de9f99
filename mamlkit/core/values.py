"""Convert NumPy's values to Python's own types, for JSON and TOML."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np


def plain(value: Any, kind: type) -> Any:
    """Convert a value of another library to the plain type ``kind`` if it has the same meaning.

    An integer of any library becomes an int, a real number of any library a float; an integer also becomes a float if
    ``kind`` is float. A bool is never a number, and 5.0 is never an int.

    Args:
        value: any value; a value that does not match ``kind`` is returned unchanged.
        kind: bool, int, float or str.

    >>> plain(np.int64(5), int), plain(np.float32(0.5), float), plain(1, float), plain(5.0, int), plain(True, int)
    (5, 0.5, 1.0, 5.0, True)
    """
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.str_):
        return str(value)
    if kind is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:  # an integer too large for a float
            return math.inf
    return value
