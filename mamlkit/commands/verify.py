"""``mamlkit verify``: compare this installation with results of the paper authors' code."""

from __future__ import annotations

from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from mamlkit.study.golden import CASES, QUANTITIES, TOLERANCE, compare_case, find_cases

HEADS = {
    "loss": "loss",
    "query_logits_last_step": "logits",
    "grad": "meta-\ngrad",
    "grad_inner_lr": "rate\ngrad",
    "after_adam": "params\n+ Adam",
    "after_adam_inner_lr": "rates\n+ Adam",
    "running_after": "running\nstats",
}


@click.command(name="verify")
@click.option(
    "--golden",
    type=click.Path(path_type=Path),
    default=CASES,
    help="Folder of golden cases (.npz).  [default: those in the package]",
)
@click.option(
    "--engine",
    type=click.Choice(["eager", "vmap", "compiled"]),
    default="eager",
    show_default=True,
    help="Engine to check; compiled takes about a minute the first time.",
)
def command(*, golden: Path, engine: str) -> None:
    """Recompute every golden case and print the largest absolute difference of each quantity.

    A golden case is one meta-iteration of the paper authors' code in float64: its start, its episodes and its results.
    The exit code is 1 if any difference is over 1e-10.
    """
    paths = tqdm(find_cases(golden), unit="case", leave=False, disable=None)
    rows = {path.stem: compare_case(path, engine) for path in paths}
    console = Console()
    title = f"Largest absolute differences, float64, engine {engine}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("case", overflow="fold")
    for name in QUANTITIES:
        table.add_column(HEADS[name], no_wrap=True)
    for case, differences in rows.items():
        table.add_row(case, *(_cell(differences.get(name)) for name in QUANTITIES))
    console.print(table)
    worst = max((value, case) for case, differences in rows.items() for value in differences.values())
    agree = not any(_differs(value) for differences in rows.values() for value in differences.values())
    verdict = "all agree" if agree else "NOT ALL AGREE"
    console.print(
        f"{len(rows)} cases, {verdict} to {TOLERANCE:g}; the largest difference is {worst[0]:.1e}, in {worst[1]}.",
        highlight=False,
        soft_wrap=True,
    )
    click.get_current_context().exit(0 if agree else 1)


def _differs(value: float) -> bool:
    return not value <= TOLERANCE  # NaN differs


def _cell(value: float | None) -> Text:
    if value is None:
        return Text("-", "dim")
    return Text(f"{value:.0e}" if value else "0", "bold red" if _differs(value) else "green")
