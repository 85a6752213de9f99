"""Convert the equations of the course to MathML, which browsers draw without a script, with latex2mathml and fixes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from latex2mathml.converter import convert

from mamlkit.core.errors import InputError

# Commands that latex2mathml knows by another name or supports only in part: a \big bracket with an exponent stays
# small.
OTHERWISE = {"{aligned}": "{align*}", r"\arg\min": r"\argmin", r"\arg\max": r"\argmax"}
OPENING = re.compile(r"\\[bB]igg?l?(?=[(\[]|\\\{|\\l)")
CLOSING = re.compile(r"\\[bB]igg?r?(?=[)\]]|\\\}|\\r)")
MENDED = {  # latex2mathml's output -> the form that browsers need
    r"\|": "‖",
    r"\_": "_",
    "<mi>&#x000B1;</mi>": "<mo>&#x000B1;</mo>",
    ' xmlns="http://www.w3.org/1998/Math/MathML"': "",
}
FUNCTION = re.compile("<mi>([a-z]{2,})</mi>")  # sin, log: separate them from the letter before


def equation(latex: str, display: str) -> str:
    r"""Return an equation as MathML.

    >>> equation("x", "inline")
    '<math display="inline"><mrow><mi>x</mi></mrow></math>'

    Args:
        latex: LaTeX without the dollar signs.
        display: ``"inline"`` or ``"block"``.

    Raises:
        InputError: the text is not LaTeX, or has an unknown command.
    """
    brackets = CLOSING.sub(r"\\right", OPENING.sub(r"\\left", latex))
    try:
        made = convert(_replaced(brackets, OTHERWISE), display=display)
    except Exception as error:
        raise InputError(f"the equation {latex!r} is not LaTeX ({type(error).__name__})") from error
    made = _replaced(made, MENDED)
    if "\\" in made or "<mi>&</mi>" in made:
        raise InputError(f"the equation {latex!r} has a command that latex2mathml does not know")
    return FUNCTION.sub(r'<mo lspace="0.17em" rspace="0">\1</mo>', made)


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        text = text.replace(old, new)
    return text
