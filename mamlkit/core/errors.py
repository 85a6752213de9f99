"""The one exception for bad input."""

from __future__ import annotations


class InputError(ValueError):
    """Report bad input in one sentence that names the thing, its value and what is allowed.

    The command line prints the sentence without a traceback and exits with code 2.
    """
