"""The options of ``mamlkit train``: one for each field, and back again to the shortest command."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mamlkit.commands.options import GroupedCommand, config_options
from mamlkit.core.config import Config
from mamlkit.core.contradictions import ALLOWED
from mamlkit.core.recipes import RECIPES, configure
from mamlkit.runs.command_line import command_line, flag

# What else must be said where a field is not at its default.
NEEDED: dict[str, dict[str, Any]] = {
    "method": {"second_order": False},
    "inner_lr_per": {"learn_inner_lrs": True},
    **{name: {"backbone": "deep"} for name in ("depth", "batch_norm", "skips")},
}


def parse(*arguments: str) -> dict[str, Any]:
    """Return what a command with all options gets, without those not given."""
    got: dict[str, Any] = {}

    @click.command(cls=GroupedCommand)
    @config_options
    def command(**values: Any) -> None:
        got.update({key: value for key, value in values.items() if value is not None})

    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return got


def helped() -> str:
    @click.command(cls=GroupedCommand)
    @config_options
    def command(**values: Any) -> None:
        pass

    return CliRunner().invoke(command, ["--help"], terminal_width=200).stdout


def test_every_field_is_an_option_with_its_help_and_default_under_its_heading() -> None:
    text = helped()
    for field in dataclasses.fields(Config):
        assert f"{flag(field.name)} " in text, field.name
        assert " ".join(field.metadata["help"].split()[:3]) in text, field.name
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[:5] == ["Data:", "Network:", "Inner loop:", "Outer loop:", "Run:"]


def test_the_options_come_in_the_order_of_the_fields() -> None:
    text = helped()
    places = [text.index(f"  {flag(field.name)} ") for field in dataclasses.fields(Config)]
    assert places == sorted(places)


def test_values_have_the_types_of_the_fields() -> None:
    got = parse("--n-way", "20", "--inner-lr", "0.4", "--no-max-pool", "--cosine-lr", "--adapt", "head")
    assert got == {"n_way": 20, "inner_lr": 0.4, "max_pool": False, "cosine_lr": True, "adapt": "head"}


def test_nothing_given_is_nothing_set() -> None:
    assert parse() == {}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dataset": "omniglot", "n_way": 20, "k_shot": 5, "seed": 3},
        {"dataset": "mini-imagenet", "k_shot": 5},
        {"multi_step_loss": True, "max_pool": False, "inner_lr": -0.05, "rotation": "episodes"},
        {"dataset": "folder", "data_path": "a folder/of mine"},
    ],
)
def test_the_shortest_command_gives_the_same_configuration_again(recipe: str, values: dict[str, Any]) -> None:
    allowed = {**configure(recipe).to_dict(), **values}
    for (field, value), only in ALLOWED.items():
        allowed |= only if allowed[field] == value else {}
    config = configure(recipe, **{key: allowed[key] for key in values})
    words = shlex.split(command_line(recipe, config))
    assert words[:6] == ["mamlkit", "train", "--dataset", config.dataset, "--recipe", recipe]
    assert configure(recipe, dataset=config.dataset, **parse(*words[6:])) == config


def another_value(field: dataclasses.Field[Any]) -> Any:
    if field.name == "data_path":
        return "-my pictures"
    if field.metadata["choices"]:
        return next(choice for choice in field.metadata["choices"] if choice != field.default)
    kind = type(field.default)
    return not field.default if kind is bool else field.default + 1 if kind is int else 0.123456789012345


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda field: field.name)
def test_each_field_changed_alone_comes_back_from_its_command(field: dataclasses.Field[Any]) -> None:
    dataset = "folder" if field.name == "data_path" else "glyphs"
    values = {"dataset": dataset, field.name: another_value(field), **NEEDED.get(field.name, {})}
    config = configure("maml", **values)
    words = shlex.split(command_line("maml", config))
    assert configure("maml", **{"dataset": config.dataset, **parse(*words[6:])}) == config
    assert config != configure("maml")
