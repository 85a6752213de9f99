"""The exception for bad input, the check of a choice, and exceptions of the user's own code as text."""

from __future__ import annotations

import difflib


class InputError(ValueError):
    """Report bad input in one sentence that names the input, its value and the allowed values.

    The command line prints the sentence without a traceback and exits with code 2.
    """


def described(error: BaseException) -> str:
    r"""Return the kind and the message of an exception of the user's own code, on one line.

    >>> described(ValueError("too small:\n3"))
    'ValueError: too small: 3'
    """
    words = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' * bool(words)}{words}"


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise an ``InputError`` that names the nearest choice if ``value`` is not allowed."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"{name} = {value!r} is unknown{hint}; choose one of {', '.join(allowed)}")
