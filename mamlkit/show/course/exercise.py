"""``check`` tests the behaviour of an answer, and ``hint`` prints help in levels; both only print."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

from mamlkit.core.errors import InputError


class WrongAnswer(Exception):  # noqa: N818 - it reports the reader's answer, not an error of ours
    """Explain in one sentence the difference between the answer's behaviour and the expected behaviour."""


class EmptyAnswer(Exception):  # noqa: N818
    """Signal that the answer is still empty."""


class Exercise(NamedTuple):
    """One exercise.

    Attributes:
        name: the function that the reader is asked to write.
        test: raises ``WrongAnswer`` if the answer's behaviour is wrong.
        hints: from a first nudge to almost the answer.
    """

    name: str
    test: Callable[[Any], None]
    hints: tuple[str, ...]


EXERCISES: dict[str, Exercise] = {}


def exercise(number: str, name: str, *hints: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register the decorated function as the test of exercise ``number``.

    Writes: ``EXERCISES``.
    """

    def register(test: Callable[[Any], None]) -> Callable[[Any], None]:
        EXERCISES[number] = Exercise(name, test, hints)
        return test

    return register


def require(holds: bool, sentence: str) -> None:
    """Raise ``WrongAnswer(sentence)`` unless ``holds``."""
    if not holds:
        raise WrongAnswer(sentence)


def returned(value: Any) -> Any:
    """Return the result of an answer; raise ``EmptyAnswer`` if it is ``None`` or ``...``."""
    if value is None or value is ...:
        raise EmptyAnswer
    return value


def check(number: str, answer: Any) -> None:
    """Test an answer and print one sentence: it is right, still empty, or wrong, and why.

    Args:
        number: the exercise, such as ``"1.1"``.
        answer: the reader's code, usually a function.

    Raises:
        InputError: there is no such exercise. A wrong or failing answer does not raise.

    Writes: standard output.
    """
    asked = _find(number)
    try:
        asked.test(returned(answer))
    except EmptyAnswer:
        print(f"Exercise {number} is still empty: write {asked.name}, then run this cell again.")
    except WrongAnswer as wrong:
        print(f"Exercise {number}, not yet: {wrong}")
    except Exception as error:  # noqa: BLE001 - the reader's own code may raise anything
        print(f"Exercise {number}, not yet: your code raised {type(error).__name__}: {error}")
    else:
        print(f"Exercise {number} is right.")


def hint(number: str, level: int = 1) -> None:
    """Print a hint; higher levels say more.

    Raises:
        InputError: there is no such exercise or level.

    Writes: standard output.
    """
    hints = _find(number).hints
    if not 1 <= level <= len(hints):
        raise InputError(f"level = {level} is no hint of exercise {number}; 1 to {len(hints)} are allowed")
    print(f"Hint {level} of {len(hints)} for exercise {number}: {hints[level - 1]}")


def _find(number: str) -> Exercise:
    if number not in EXERCISES:
        near = difflib.get_close_matches(number, EXERCISES, n=1)
        did = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"there is no exercise {number!r}{did}; choose one of {', '.join(EXERCISES)}")
    return EXERCISES[number]
