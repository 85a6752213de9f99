"""How numbers are printed."""

from __future__ import annotations

import doctest

from mamlkit.show import numbers


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(numbers)
    assert (result.attempted, result.failed) == (3, 0)
