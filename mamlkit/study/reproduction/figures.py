"""Figures of the table of measurements, each a new matplotlib Figure.

Each line of a figure is one setting; there are at most as many lines as markers. Lines differ by colour, dash and
marker, never by colour alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mamlkit.show import plots
from mamlkit.study.reproduction import paper
from mamlkit.study.reproduction.measurements import bare, plan_of
from mamlkit.study.reproduction.summary import HELPS, HURTS, effects, runs, settings
from mamlkit.study.reproduction.tables import TABLES

WIDTH = 9.0  # inches
INK, SOFT = "#222", "#777"
COLOURS = (*(colour for colour, _ in plots.STYLES), "#8a3ea8", "#8a6d00", "#444")
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
MARKERS = "os^Dv<>Ph*Xpd"
FEW = 2  # up to this number of settings, every run is a separate line
METHODS = {"maml": "MAML", "mamlpp": "MAML++", "mamlpp-authors": "MAML++"}  # recipes with a number in the paper
SIZES = {"n_steps", "n_tasks"}  # a setting that changes only these is still the paper's method
PAPER_MARKS = {paper.TEXT: ("*", COLOURS[0], -0.12), paper.QUOTED: ("o", "white", 0.12)}  # mark, filling, place
FLOP = ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))


def accuracies(frame: pd.DataFrame) -> Figure:
    """Draw the test accuracy of each run and setting with both kinds of interval, and the paper's numbers."""
    means, each = settings(frame), runs(frame)
    figure, axes = _rows(means.label)
    for row, mean in enumerate(means.itertuples()):
        group = each[each.setting == mean.setting]
        y = row + 0.12 + 0.25 * np.arange(len(group)) / max(len(group) - 1, 1)
        style: dict[str, Any] = {"color": COLOURS[1], "fmt": "o", "ms": 3.5, "lw": 1, "alpha": 0.8}
        axes.errorbar(100 * group.accuracy, y, xerr=100 * group.ci95, **style, label="a run, interval over episodes")
        half = None if math.isnan(mean.over_seeds) else 100 * mean.over_seeds
        style = {"color": INK, "fmt": "D", "ms": 5, "lw": 2.2, "capsize": 3}
        axes.errorbar(100 * mean.accuracy, row - 0.12, xerr=half, **style, label="mean, interval over seeds (t)")
    low, high = 100 * (each.accuracy - each.ci95).min(), 100 * (each.accuracy + each.ci95).max()
    for row, setting in enumerate(means.setting):
        for number in established(frame, setting):
            source = number.source.split(";")[0]
            mark, filling, above = PAPER_MARKS[source]
            style = {"color": COLOURS[0], "mfc": filling, "ms": 9 if mark == "*" else 5, "label": f"paper: {source}"}
            axes.plot(number.accuracy, row + above, mark, **style)
            low, high = min(low, number.accuracy), max(high, number.accuracy)
    pad = 0.05 * (high - low)
    axes.set(xlabel="test accuracy (%)", xlim=(max(0, low - pad), min(100.5, high + pad)))
    _legend(figure, axes)
    return figure


def established(frame: pd.DataFrame, setting: str) -> list[paper.Row]:
    """Return the paper's numbers for the same data set, task, method and, if known, inner steps as a setting's.

    The result is empty for a setting whose recipe has changes other than inner steps and tasks.
    """
    plan = plan_of(frame)
    [found] = [s for s in plan.settings if s["name"] == setting]
    config = found["config"]
    [line] = [line for line in TABLES[plan.table].settings(1) if line.name == setting]
    if line.overrides.keys() - SIZES:
        return []
    rows = paper.numbers(config["dataset"], config["n_way"], config["k_shot"])
    method = METHODS.get(found["recipe"])
    return [row for row in rows if row.method == method and row.n_steps in (None, config["n_steps"])]


def differences(frame: pd.DataFrame) -> Figure | None:
    """Draw the difference of every setting from the first of its task, with its interval over seeds and the verdict.

    Return None if there is nothing to compare.
    """
    table = effects(frame)
    if table.empty:
        return None
    figure, axes = _rows(table.label)
    axes.axvline(0, color=SOFT, lw=1)
    for row, effect in enumerate(table.itertuples()):
        told = effect.verdict in (HELPS, HURTS)
        half = None if math.isnan(effect.over_seeds) else 100 * effect.over_seeds
        style: dict[str, Any] = {"color": COLOURS[1] if told else SOFT, "mfc": None if told else "white"}
        axes.errorbar(100 * effect.difference, row, xerr=half, fmt="D", ms=6, lw=2, capsize=3, **style)
        axes.annotate(effect.verdict, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize="small")
    first = table.reference.unique()
    what = first[0] if len(first) == 1 else "the first of its task"
    axes.set(xlabel=f"test accuracy minus that of {what} (points)")
    return figure


def curves(frame: pd.DataFrame) -> Figure:
    """Draw the validation accuracy against iterations, minutes and arithmetic.

    Show the mean over seeds with a band from the lowest to the highest; with few settings, show each run as a line.
    """
    rows = _of(frame, "validation accuracy")
    figure = _figure(rows)
    panels = figure.subplots(1, 3, sharey=True)
    size, flop = next((unit for unit in FLOP if rows.flop.max() >= unit[0]), FLOP[-1])
    columns = {"iteration": 1, "seconds": 60, "flop": size}
    words = ("meta-iterations", "minutes of training and validation", f"{flop} of training, counted")
    for axes, (column, unit), what in zip(panels, columns.items(), words):
        _lines(axes, rows.assign(x=rows[column].astype(float) / unit, value=100 * rows.value), "epoch")
        axes.set(xlabel=what)
    panels[0].set_ylabel("validation accuracy (%)")
    _legend(figure, panels[0])
    return figure


def gradients(frame: pd.DataFrame) -> Figure:
    """Draw the norms of the meta-gradient against iterations, and of the inner gradient against the inner step."""
    norms, inner = _of(frame, "meta-gradient norm"), _of(frame, "inner gradient norm")
    figure = _figure(norms)
    left, right = figure.subplots(1, 2)
    _lines(left, norms.assign(x=norms.iteration.astype(float)), "epoch")
    last = inner[inner.epoch == inner.groupby(["setting", "seed"]).epoch.transform("max")]
    _lines(right, last.assign(x=last.step.astype(float)), "step")
    left.set(title="meta-gradient, median of an epoch", xlabel="meta-iterations", ylabel="norm")
    right.set(title="support gradient, median of the last epoch", xlabel="inner step", ylabel="norm")
    right.set_xticks(range(int(inner.step.max()) + 1))
    for axes in (left, right):
        _log(axes)
    _legend(figure, left)
    return figure


def rates(frame: pd.DataFrame) -> Figure | None:
    """Draw the learned inner rates, mean over seeds, one map for each setting; return None if no rates were learned."""
    rows = _of(frame, "inner rate")
    if rows.empty:
        return None
    starts = {setting["name"]: setting["config"]["inner_lr"] for setting in plan_of(frame).settings}
    groups = list(rows.groupby("setting", sort=False))
    columns = min(2, len(groups))
    lines = math.ceil(len(groups) / columns)
    figure = Figure(figsize=(WIDTH, 0.7 + 3.1 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for (setting, group), axes in zip(groups, panels):
        axes.set_title(group.label.iloc[0], fontsize="small", loc="left")
        mean = group.groupby(["tensor", "step"], sort=False).value.mean().rename("rate").reset_index()
        plots.rate_map(axes, mean.to_dict("records"), start=starts[setting])
        for text in axes.texts:
            text.set_fontsize(6)
    for axes in panels:
        axes.set_axis_off()
    return figure


def _of(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    return bare(frame[frame.measure == measure])


def _lines(axes: Axes, rows: pd.DataFrame, key: str) -> None:
    """Draw ``value`` against ``x`` for each setting: every run if there are few settings, otherwise mean and band."""
    groups = rows.groupby("setting", sort=False)
    for number, (_, group) in enumerate(groups):
        style = {"color": COLOURS[number % len(COLOURS)], "ls": DASHES[number % len(DASHES)]}
        style |= {"marker": MARKERS[number % len(MARKERS)], "ms": 4, "label": group.label.iloc[0]}
        if len(groups) <= FEW:
            for _, run in group.groupby("seed"):
                axes.plot(run.x, run.value, lw=0.9, markevery=_sparse(len(run)), **style)
            continue
        mean = group.groupby(key).agg(x=("x", "mean"), y=("value", "mean"), low=("value", "min"), high=("value", "max"))
        axes.plot(mean.x, mean.y, lw=1.5, markevery=_sparse(len(mean)), **style)
        axes.fill_between(mean.x, mean.low, mean.high, color=style["color"], alpha=0.1, lw=0)


def _log(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers; add tick labels if the axis spans less than a decade."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else "")


def _sparse(points: int) -> int:
    return max(1, points // 6)


def _figure(rows: pd.DataFrame) -> Figure:
    return Figure(figsize=(WIDTH, 3.6 + 0.12 * rows.setting.nunique()), layout="constrained")


def _rows(labels: pd.Series) -> tuple[Figure, Axes]:
    """Return a figure with one line of text for each label, the first on top."""
    figure = Figure(figsize=(WIDTH, 1.5 + 0.5 * len(labels)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x", color="#ddd", lw=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: Figure, axes: Axes) -> None:
    """Put each label once into a legend below the figure."""
    found = zip(*reversed(axes.get_legend_handles_labels()))
    once = dict(sorted(found, key=lambda pair: pair[0].startswith("paper")))
    columns = max(1, min(len(once), 140 // (8 + max(map(len, once)))))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=columns, fontsize="small")
