"""Equations as MathML: what the converter is helped with, and what is refused."""

from __future__ import annotations

import re

import pytest

from mamlkit.commands.site_equations import equation
from mamlkit.core.errors import InputError


@pytest.mark.parametrize("display", ["inline", "block"])
def test_an_equation_says_how_it_is_displayed_and_names_no_address(display: str) -> None:
    assert equation("x", display) == f'<math display="{display}"><mrow><mi>x</mi></mrow></math>'


def test_a_function_stands_apart_from_the_letter_before_it() -> None:
    assert '<mi>A</mi><mo lspace="0.17em" rspace="0">sin</mo>' in equation(r"A \sin x", "inline")


@pytest.mark.parametrize(
    ("latex", "part"),
    [
        (r"\big\langle x \Bigr\rangle^2", '<mo stretchy="true" fence="true" form="postfix">&#x027E9;</mo></mrow>'),
        (r"\bigl( x \bigr)", '<mo stretchy="true" fence="true" form="prefix">&#x00028;</mo>'),
        (r"\Bigg\{ x \Bigg]", '<mo stretchy="true" fence="true" form="prefix">&#x0007B;</mo>'),
        (r"\big\| x \big\|", ">‖</mo>"),
        (r"x \pm y", "<mo>&#x000B1;</mo>"),
        (r"\text{a\_b}", "<mtext>a_b</mtext>"),
        (r"\arg\min_x", "arg&#x02009;min"),
        (r"\begin{aligned}x &= 1 \\ y &= 2\end{aligned}", "<mtr>"),
    ],
)
def test_latex_that_the_converter_has_under_another_name_is_shown_too(latex: str, part: str) -> None:
    assert part in equation(latex, "block")


@pytest.mark.parametrize("latex", ["x_1_2", r"\left( x", r"\nonsense x", "x & y"])
def test_what_cannot_be_shown_is_refused_by_name(latex: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(latex))):
        equation(latex, "block")
