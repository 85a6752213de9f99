"""``mamlkit bench --ui``: the waits of a reader in a real browser and real kernels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from mamlkit.commands.course import notebooks_folder
from mamlkit.core.system.files import check_writable, write_whole
from mamlkit.core.system.imports import check_installed, lazily
from mamlkit.study.bench import load
from mamlkit.study.bench.records import about

FILE = "ui.json"
NEEDED = ("playwright", "psutil", "nbformat", "papermill", "ipykernel", "jupyterlab", "voila", "anywidget")
HOLDS = {True: "yes", False: "no", None: ""}

ui = lazily("mamlkit.study.bench.ui")
stage = lazily("mamlkit.study.bench.stage")


def measure(folder: Path, samples: int) -> None:
    """Measure everything, print the table, and write ``ui.json``.

    Args:
        folder: created if missing.
        samples: number of samples for each row; slow measurements have fewer.

    Raises:
        InputError: a requirement is not installed or does not start, or the folder cannot be written.

    Writes: the file, atomically.
    """
    check_installed("--ui", NEEDED, extra="test")
    check_writable(folder / FILE)
    busy = load.busy_share()
    rows = []
    with (
        stage.stage(notebooks_folder(), samples) as on,
        tqdm(ui.PARTS, unit="part", leave=False, dynamic_ncols=True, disable=None) as parts,
    ):
        for name, part in parts:
            parts.set_description(name)
            rows += part(on)
    content = {**about({}, samples), "busy_share": busy, "rows": [row.to_dict() for row in rows]}
    write_whole(folder / FILE, json.dumps(content, indent=2).encode() + b"\n")
    Console().print(table(rows, busy))
    click.echo(f"The numbers are in {folder / FILE}")


def table(rows: Sequence[Any], busy: float) -> Table:
    """Return the table of the rows; a bound holds if the 90th percentile does not exceed it.

    Args:
        rows: the rows of ``mamlkit.study.bench.ui``.
        busy: see ``mamlkit.study.bench.load.busy_share``; if the machine was busy, a note says so.
    """
    shown = Table(title="Waits of a reader, in milliseconds", box=box.SIMPLE_HEAD)
    for number, head in enumerate(("", "median", "p90", "bound", "holds")):
        shown.add_column(head, justify="right" if number else "left")
    for before, row in zip([None, *rows], rows):
        if before is None or before.what != row.what:
            shown.add_row(f"From {row.what}")
        bound = "" if row.bound is None else f"{row.bound:.0f}"
        shown.add_row(f"  {row.where}", f"{row.median:.0f}", f"{row.p90:.0f}", bound, HOLDS[row.holds])
    if busy > stage.BUSY:
        shown.caption = f"Other programs used {busy:.0%} of the processors at the start: a quiet machine is faster."
    return shown
