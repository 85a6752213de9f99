"""The command line that a run records; tests/test_command_options.py reads it back."""

from __future__ import annotations

import doctest

import pytest

from mamlkit.core.recipes import configure
from mamlkit.runs import command_line as module
from mamlkit.runs.command_line import command_line


def test_the_examples_of_the_module_are_right() -> None:
    assert doctest.testmod(module).attempted == 2
    assert doctest.testmod(module).failed == 0


def test_the_command_of_a_plain_recipe_is_short() -> None:
    assert command_line("mamlpp", configure("mamlpp")) == "mamlkit train --dataset glyphs --recipe mamlpp"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"k_shot": 5}, "--k-shot 5"),
        ({"max_pool": False}, "--no-max-pool"),
        ({"per_step_bn": True}, "--per-step-bn"),
        ({"data_path": "my pictures", "dataset": "folder"}, "--data-path 'my pictures'"),
    ],
)
def test_only_what_differs_from_the_recipe_is_in_the_command(values: dict[str, object], words: str) -> None:
    dataset = values.get("dataset", "glyphs")
    command = f"mamlkit train --dataset {dataset} --recipe maml {words}"
    assert command_line("maml", configure("maml", **values)) == command
