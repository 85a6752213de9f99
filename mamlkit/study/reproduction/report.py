"""The report of a grid: one Parquet table, a notebook that reads it, and the notebook as one HTML file without code."""

from __future__ import annotations

from pathlib import Path

import jinja2
import jupytext
import nbformat
import pandas as pd
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from rich import box
from rich.console import Console
from rich.table import Table

from mamlkit.core.errors import InputError
from mamlkit.core.system.files import write_whole
from mamlkit.show.numbers import percent
from mamlkit.study.reproduction import atlas_views, measurements, summary
from mamlkit.study.reproduction.cell import RECORD
from mamlkit.study.reproduction.execution import execute
from mamlkit.study.reproduction.plan import Plan
from mamlkit.study.reproduction.tables import TABLES

PAGE = "report.html"
NOTEBOOK = "report.ipynb"
TABLE = "results.parquet"
TEMPLATE = Path(__file__).with_name("report.html.j2")


def write(plan: Plan, folder: Path, command: str) -> Path:
    """Write the table, the notebook and the page of a grid; some runs may be missing.

    Args:
        plan: plan of the grid.
        folder: folder of the grid.
        command: the command that reproduces it.

    Returns:
        Path of the page.

    Raises:
        InputError: no run is finished, a run is damaged, or the report cannot be written.

    Writes: ``results.parquet``, ``report.ipynb``; ``report.html``, last.
    """
    frame = measurements.collect(plan, folder)
    if frame.empty:
        raise InputError(f"no run in {folder} is done; there is nothing to report")
    measurements.write(frame, folder / TABLE)
    source = Path(__file__).with_name(TABLES[plan.table].report)
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="md")
    try:
        done = execute(notebook, folder / NOTEBOOK, {"results": TABLE, "command": command})
    except PapermillExecutionError as error:
        raise InputError(f"{folder / NOTEBOOK} stopped: {error.ename}: {error.evalue}") from error
    except DeadKernelError as error:
        raise InputError(f"the kernel of {folder / NOTEBOOK} died; free some memory, and try again") from error
    write_whole(folder / PAGE, page(done, TABLES[plan.table].title).encode())
    return folder / PAGE


def page(notebook: nbformat.NotebookNode, title: str) -> str:
    """Convert an executed notebook to a page without code; the page loads nothing from elsewhere."""
    hidden = ("exclude_input", "exclude_input_prompt", "exclude_output_prompt", "exclude_anchor_links")
    exporter = HTMLExporter(template_name="basic", **dict.fromkeys(hidden, True))  # type: ignore[no-untyped-call]
    body, _ = exporter.from_notebook_node(notebook)
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined)
    html: str = template.render(title=title, body=body)
    return html


def is_written(folder: Path) -> bool:
    """Return whether the page exists and is newer than every finished run."""
    path = folder / PAGE
    records = (folder / "cells").glob(f"*/{RECORD}")
    return path.is_file() and all(record.stat().st_mtime_ns < path.stat().st_mtime_ns for record in records)


def show(frame: pd.DataFrame) -> None:
    """Print a summary of a grid's results.

    Writes: standard output.
    """
    source = TABLES[measurements.plan_of(frame).table].report
    {"report.md": _show_settings, "atlas.md": atlas_views.show}[source](frame)


def _show_settings(frame: pd.DataFrame) -> None:
    """Print one line for each setting: its accuracy with intervals over seeds and episodes, and its difference."""
    effects = {row.setting: row for row in summary.effects(frame).itertuples()}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("setting", overflow="fold")
    for head in ("accuracy (%)", "sd", "episodes", "minus the first", ""):
        table.add_column(head, no_wrap=True)
    for row in summary.settings(frame).itertuples():
        effect = effects.get(row.setting)
        change = percent(effect.difference, effect.over_seeds, sign="+") if effect else ""
        accuracy, verdict = percent(row.accuracy, row.over_seeds), effect.verdict if effect else ""
        table.add_row(row.label, accuracy, percent(row.sd), f"± {percent(row.ci95)}", change, verdict)
    console = Console()
    console.print(table)
    words = "Test accuracy. ± is a 95 % interval: over seeds (t), or over the episodes of one run; sd is over seeds."
    console.print(words, highlight=False)
