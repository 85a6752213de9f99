"""``mamlkit list``: the recipes, each as its difference from a base."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from mamlkit.core.config import Config
from mamlkit.core.errors import check_choice
from mamlkit.core.recipes import RECIPES, Recipe


@click.command(name="list")
@click.argument("recipe", default="")
@click.option("--dataset", default="glyphs", show_default=True, help="Data set; some recipes depend on it.")
@click.option("--json", "as_json", is_flag=True, help="Print all recipes as JSON.")
def command(*, recipe: str, dataset: str, as_json: bool) -> None:
    """List the recipes as differences from their bases, or describe one RECIPE."""
    config = Config(dataset=dataset)
    if recipe:
        check_choice("recipe", recipe, tuple(RECIPES))
        _describe(RECIPES[recipe], config)
    elif as_json:
        click.echo(
            json.dumps({r.name: {"base": r.base, "changes": r.changes(config)} for r in RECIPES.values()}, indent=2)
        )
    else:
        _list(config)


def _list(config: Config) -> None:
    table = Table("recipe", "is", "with", title=f"Recipes on {config.dataset}")
    for recipe in RECIPES.values():
        table.add_row(recipe.name, recipe.base or "the defaults", _changes(recipe, config))
    console = Console()
    console.print(table)
    console.print("Sources of a recipe, the paper's text or the authors' code: mamlkit list RECIPE", highlight=False)


def _describe(recipe: Recipe, config: Config) -> None:
    click.echo(f"{recipe.name} = {recipe.base or 'the defaults'} with {_changes(recipe, config)}\n")
    click.echo(recipe.doc)


def _changes(recipe: Recipe, config: Config) -> str:
    return ", ".join(f"{key} = {_short(value)}" for key, value in recipe.changes(config).items()) or "no change"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
