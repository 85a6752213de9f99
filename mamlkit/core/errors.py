"""The exception for bad input."""

from __future__ import annotations


class InputError(ValueError):
    """Report bad input in one sentence that names the input, its value and the allowed values.

    The command line prints the sentence without a traceback and exits with code 2.
    """
