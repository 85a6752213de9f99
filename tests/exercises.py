"""What the tests of the exercises share: ``check`` of a right answer, and of a wrong one."""

from __future__ import annotations

import pytest

from mamlkit.show.course import check


def assert_right(number: str, answer: object, capsys: pytest.CaptureFixture[str]) -> None:
    check(number, answer)
    assert capsys.readouterr().out == f"Exercise {number} is right.\n"


def assert_told(number: str, answer: object, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that one sentence says what is wrong; ``a|b`` are two sentences of which one is said."""
    check(number, answer)
    said = capsys.readouterr().out
    assert said.startswith(f"Exercise {number}, not yet: ")
    assert any(part in said for part in message.split("|")), said
    assert said.count("\n") == 1
