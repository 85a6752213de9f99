"""The stability atlas as figures and tables."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from mamlkit.show.numbers import percent, share_of
from mamlkit.study.reproduction import atlas_summary as summary
from mamlkit.study.reproduction.atlas import METHODS, NETWORKS, RATES, STEPS, Place
from mamlkit.study.reproduction.shown import View, table

INCHES = 1.35  # side of one map
DEAD = "Reds"


def atlas_map(frame: pd.DataFrame) -> Figure:
    """Draw a map of inner steps and inner rates for each network and method: colour and number of dead runs."""
    cells = summary.cells(frame)
    size = (1.4 + INCHES * len(METHODS), 1.2 + INCHES * len(NETWORKS))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(NETWORKS), len(METHODS), sharex=True, sharey=True, squeeze=False)
    for network, row in zip(NETWORKS, panels):
        for method, axes in zip(METHODS, row):
            _panel(axes, cells[(cells.network == network) & (cells.method == method)])
        label = NETWORKS[network][0].replace(", ", ",\n")
        row[0].set_ylabel(f"{label}\ninner steps", fontsize="small")
    for method, axes in zip(METHODS, panels[0]):
        axes.set_title(textwrap.fill(METHODS[method][0], 18), fontsize="small")
    figure.supxlabel("inner rate", fontsize="small")
    return figure


def _panel(axes: Axes, cells: pd.DataFrame) -> None:
    shares = np.full((len(STEPS), len(RATES)), np.nan)
    for cell in cells.itertuples():
        row, column = STEPS.index(cell.steps), RATES.index(cell.rate)
        shares[row, column] = cell.share
        words = f"{cell.dead}/{cell.n_runs}\n{100 * cell.accuracy:.0f} %"
        colour = "white" if cell.share > 0.6 else "#222"
        axes.text(column, row, words, ha="center", va="center", fontsize=6, color=colour)
    axes.imshow(shares, cmap=colormaps[DEAD], vmin=0, vmax=1.2, origin="lower", aspect="auto")
    axes.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES], fontsize="x-small")
    axes.set_yticks(range(len(STEPS)), [f"{steps}" for steps in STEPS], fontsize="x-small")


def methods(frame: pd.DataFrame) -> View:
    """Return the share of dead runs and the accuracy of each network and method, with intervals."""
    return table(_methods(frame))


def _methods(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [_method(row) for row in summary.by_method(frame).to_dict("records")]


def _method(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": NETWORKS[row["network"]][0],
        "method": METHODS[row["method"]][0],
        "dead runs": share_of(row["dead"], row["n_runs"], low=row["low"], high=row["high"]),
        "at most a tenth of MAML's": "yes" if row["tames"] else "",
        "accuracy (%)": percent(row["accuracy"]),
        "minus MAML (points)": ""
        if row["method"] == summary.REFERENCE
        else percent(row["difference"], row["half"], sign="+"),
    }


def reasons(frame: pd.DataFrame) -> View:
    """Return every cell with dead runs, and the reasons."""
    cells = summary.cells(frame)
    return table(
        [
            {
                "network": NETWORKS[cell.network][0],
                "method": METHODS[cell.method][0],
                "inner steps": cell.steps,
                "inner rate": cell.rate,
                "dead": f"{cell.dead} of {cell.n_runs}",
                "largest finite norm of a meta-gradient": f"{cell.largest:.2g}",
                "reasons": cell.why,
            }
            for cell in cells[cells.dead > 0].itertuples()
        ]
    )


def norms(frame: pd.DataFrame, place: Place) -> Figure:
    """Draw the largest norm of each tensor's support gradient at each inner step, in any run of a cell."""
    found = summary.inner_norms(frame, place)
    figure = Figure(figsize=(5.0, 1.0 + 0.2 * len(found)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(np.log10(found.to_numpy().clip(1e-6)), aspect="auto", cmap="viridis")
    axes.set_yticks(range(len(found)), found.index, fontsize="x-small")
    axes.set_xticks(range(found.shape[1]), found.columns)
    axes.set(xlabel="inner step")
    figure.colorbar(image, label="log10 of the norm")
    return figure


def show(frame: pd.DataFrame) -> None:
    """Print the share of dead runs and the accuracy of each network and method.

    Writes: standard output.
    """
    rows = _methods(frame)
    printed = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in rows[0]:
        printed.add_column(head, overflow="fold")
    for row in rows:
        printed.add_row(*row.values())
    console = Console()
    console.print(printed)
    console.print("In brackets: Wilson's 95 % interval. ± is a 95 % interval over pairs of runs.", highlight=False)
