"""Values of NumPy as plain ones; what `Config` makes of them is tested there."""

from __future__ import annotations

import doctest
import math
from typing import Any

import numpy as np
import pytest

from mamlkit.core import values
from mamlkit.core.values import plain


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(values)
    assert (result.attempted, result.failed) == (1, 0)


@pytest.mark.parametrize("value", [True, np.True_, 5.0, np.float64(5.0), "5", None, np.array(5)])
def test_only_an_integer_becomes_an_int(value: Any) -> None:
    assert type(plain(value, int)) is not int


@pytest.mark.parametrize("value", [True, np.True_, "0.5", None, np.array(0.5), 1j])
def test_only_a_real_number_becomes_a_float(value: Any) -> None:
    assert type(plain(value, float)) is not float


def test_an_integer_too_large_for_a_float_is_infinite() -> None:
    assert plain(10**400, float) == math.inf
