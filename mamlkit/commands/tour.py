"""``mamlkit tour``: train MAML and MAML++ side by side for a few minutes, and show the effect of the fixes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from mamlkit.commands import progress
from mamlkit.core.config import Config
from mamlkit.core.data_sources import without_a_path
from mamlkit.core.episodes import ImageStore
from mamlkit.core.recipes import configure
from mamlkit.core.system.files import check_writable, write_whole
from mamlkit.core.system.imports import check_installed, lazily
from mamlkit.datasets import load
from mamlkit.training.trainer import Trainer, make_sampler

if TYPE_CHECKING:
    from mamlkit.commands.tour_report import Side

tour_report = lazily("mamlkit.commands.tour_report")  # with matplotlib, which loads slowly

PACKAGES = ("jinja2", "matplotlib")
TEST_EPOCHS = 0.5  # approximate duration of the final test, in epochs of both methods
RECIPES = {"MAML": "maml", "MAML++": "mamlpp"}
SIZES: dict[str, Any] = {
    "filters": 32,
    "n_tasks": 4,
    "val_episodes": 100,
    "test_episodes": 200,
    "ensemble": 1,
    "on_nonfinite": "skip",
}


@click.command(name="tour")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("mamlkit-tour.html"),
    show_default=True,
    help="The report, one HTML file.",
)
@click.option("--dataset", type=click.Choice(without_a_path()), default="glyphs", show_default=True, help="Data.")
@click.option("--n-way", type=int, default=5, show_default=True, help="Classes in an episode.")
@click.option("--epochs", type=int, default=6, show_default=True, help="Epochs of each method.")
@click.option("--iterations-per-epoch", type=int, default=30, show_default=True, help="Meta-iterations in an epoch.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the weights and the episodes.")
def command(*, out: Path, **options: int | str) -> None:
    """Train MAML and MAML++ side by side, within three minutes on two cores.

    Print a table and write one HTML report with figures: accuracy, gradient norms per inner step, batch-norm drift and
    the learned rates. Both methods see the same episodes and start from the same weights.
    """
    check_installed("mamlkit tour", PACKAGES, extra="plots")
    configs = {name: configure(recipe, **SIZES, **options) for name, recipe in RECIPES.items()}
    config = configs["MAML"]
    store = load(config.dataset, image_size=config.image_size)
    sampler = make_sampler(store, config, "test")
    check_writable(out)
    engine = _choose_engine(configs["MAML++"], store)
    configs = {name: dataclasses.replace(c, engine=engine) for name, c in configs.items()}
    sides = [tour_report.Side(name, Trainer.from_config(c, store)) for name, c in configs.items()]
    click.echo(
        f"{config.n_way}-way {config.k_shot}-shot on {config.dataset}, {config.epochs} epochs of "
        f"{config.iterations_per_epoch} meta-iterations for each method"
    )
    _train_in_turns(sides)
    for side in sides:
        side.evaluations = progress.evaluate_both([side.trainer.learner], sampler, config.test_episodes)
    _print_table(sides)
    write_whole(out, tour_report.page(sides, sampler, options).encode())
    click.echo(f"The report is {out}: open it in a browser. Next: mamlkit lab")


def _print_table(sides: Sequence[Side]) -> None:
    table = Table(title="MAML and MAML++ side by side", box=box.SIMPLE_HEAD)
    for head in tour_report.HEADS:
        table.add_column(head, overflow="fold")
    for side in sides:
        table.add_row(*side.row())
    Console().print(table)
    click.echo("Test accuracy with its 95 % interval over episodes; recorded: with the statistics recorded in training")


def _choose_engine(config: Config, store: ImageStore) -> str:
    """Return the engine that finishes the tour first, with its compiled code; both methods use the same code."""
    both = dataclasses.replace(config, epochs=len(RECIPES) * config.epochs)
    return progress.trainer(both, store).choice.engine


def _train_in_turns(sides: Sequence[Side]) -> None:
    """Train the methods in turn, one epoch each, so that both run under the same conditions; print the time left."""
    running = [progress.train(side.trainer, f"{side.name:6}", position=i) for i, side in enumerate(sides)]
    begin = time.perf_counter()
    for done, records in enumerate(zip(*running), 1):
        for side, record in zip(sides, records):
            progress.say_epoch(record, side.config.epochs, title=side.name)
        left = (time.perf_counter() - begin) / done * (sides[0].config.epochs - done + TEST_EPOCHS)
        progress.say(f"about {max(5, 5 * round(left / 5))} s left")
