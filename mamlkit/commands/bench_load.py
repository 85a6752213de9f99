"""``mamlkit bench --beside-load``: the cost of other programs on the same machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from mamlkit.core.system.files import check_writable, write_whole
from mamlkit.study.bench.load import MOST, MOST_COST, ROUNDS, Beside, cores, measure, works
from mamlkit.study.bench.records import about

FILE = "load.json"


def run(folder: Path, engines: Sequence[str], samples: int) -> None:
    """Measure, print the table, and write ``load.json``.

    Args:
        folder: created if missing.
        engines: the available engines, already compiled.
        samples: iterations of each engine in each state and round.

    Writes: the file, atomically.
    """
    check_writable(folder / FILE)
    chosen = works()
    rows: list[Beside] = []
    total = len(chosen) * len(engines) * samples * ROUNDS * 3
    with tqdm(total=total, unit="it", desc="beside a load", leave=False, dynamic_ncols=True, disable=None) as bar:
        for name, config in chosen.items():
            contenders = [(engine, dataclasses.replace(config, engine=engine)) for engine in engines]
            rows += measure(name, contenders, samples, bar.update)
    configs = {name: config.to_dict() for name, config in chosen.items()}
    content = {**about(configs, samples * ROUNDS), "cores": cores(), "rows": [row.to_dict() for row in rows]}
    write_whole(folder / FILE, json.dumps(content, indent=2).encode() + b"\n")
    Console().print(_table(rows))
    click.echo(f"The numbers are in {folder / FILE}")


def _table(rows: Sequence[Beside]) -> Table:
    table = Table(title=f"Beside a busy process on each of {cores()} cores", box=box.SIMPLE_HEAD)
    for number, head in enumerate(("work", "engine", "quiet ms", "beside ms", "ratio", "waiting briefly costs")):
        table.add_column(head, justify="right" if number > 1 else "left")
    for row in rows:
        times = f"{row.quiet_ms:.0f}", f"{row.beside_ms:.0f}"
        table.add_row(row.work, row.engine, *times, f"{row.ratio:.2f}", f"{row.cost:+.1%}")
    table.caption = (
        f"Fairness costs a ratio of 2; at most {MOST:g} is wanted. Brief waiting is compared with torch's own, "
        f"on the quiet machine; a median cost of at most {MOST_COST:.0%} is wanted."
    )
    return table
