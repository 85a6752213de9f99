"""Exceptions of the user's own code as one line."""

from __future__ import annotations

import doctest

from mamlkit.core import errors


def test_the_example_in_the_docstring_holds() -> None:
    result = doctest.testmod(errors)
    assert (result.attempted, result.failed) == (1, 0)


def test_an_exception_without_a_message_is_its_kind() -> None:
    assert errors.described(KeyError("x")) == "KeyError: 'x'"
    assert errors.described(NotImplementedError()) == "NotImplementedError"
