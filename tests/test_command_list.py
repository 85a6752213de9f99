"""``mamlkit list``: every recipe, as what it changes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mamlkit.__main__ import main
from mamlkit.core.recipes import RECIPES


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["list", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_recipe_has_a_row_with_its_base_and_its_difference() -> None:
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run().splitlines() if line.startswith("│")]
    named = {row[0]: row[1:] for row in rows if row[0]}  # a row without a name goes on with the one before
    assert list(named) == list(RECIPES)
    assert named["maml+lslr"] == ["maml", "learn_inner_lrs = true"]
    assert named["maml"][0] == "the defaults"
    assert named["mamlpp-authors"][0] == "mamlpp"


def test_json_has_the_same_in_full() -> None:
    found = json.loads(run("--json"))
    assert list(found) == list(RECIPES)
    assert found["maml+ca"] == {"base": "maml", "changes": {"cosine_lr": True}}


def test_the_data_set_changes_what_depends_on_it() -> None:
    assert "rotation" not in json.loads(run("--json"))["maml"]["changes"]
    assert json.loads(run("--json", "--dataset", "omniglot"))["maml"]["changes"]["rotation"] == "classes"


@pytest.mark.parametrize("name", RECIPES)
def test_one_recipe_is_described_with_its_difference_and_its_docstring(name: str) -> None:
    text = run(name)
    assert text.startswith(f"{name} = {RECIPES[name].base or 'the defaults'} with ")
    assert RECIPES[name].doc in text


def test_an_unknown_recipe_names_the_nearest() -> None:
    result = CliRunner().invoke(main, ["list", "mamlppp"])
    assert result.exit_code == 2
    assert "recipe = 'mamlppp' is unknown (did you mean 'mamlpp'?)" in result.stderr
