"""Plot the tables of ``mamlkit.training.diagnostics`` into matplotlib Axes that the caller owns.

Colours come from Okabe and Ito or from viridis. Lines also differ by dash or label, not by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from mamlkit.training.diagnostics import Rows

STYLES = (("#c65f00", "--"), ("#2077c4", "-"), ("#17805f", ":"))  # colour and dash of each series, in order
SMOOTH = 25  # iterations in the window of the running median


def accuracy_curves(axes: Axes, series: Mapping[str, Rows], *, chance: float | None = None) -> None:
    """Plot validation accuracy with its 95 % band against meta-iterations.

    Args:
        axes: the Axes to draw into.
        series: name -> rows of ``diagnostics.validation``.
        chance: accuracy of guessing, drawn as a thin line.
    """
    for (name, rows), (colour, dash) in zip(series.items(), STYLES):
        x, y, half = (np.array([row[key] for row in rows]) for key in ("iteration", "accuracy", "ci95"))
        axes.plot(x, 100 * y, dash, color=colour, marker="o", markersize=4, label=name)
        axes.fill_between(x, 100 * (y - half), 100 * (y + half), color=colour, alpha=0.18, lw=0)
    if chance is not None:
        axes.axhline(100 * chance, color="#666", lw=1, ls=":")
        axes.annotate("chance", (axes.get_xlim()[0], 100 * chance), (4, 3), textcoords="offset points", color="#555")
    axes.set(xlabel="meta-iteration", ylabel="validation accuracy (%)")
    axes.legend(loc="lower right")


def meta_gradient_norms(axes: Axes, series: Mapping[str, Rows]) -> None:
    """Plot the norm of the meta-gradient against meta-iterations on a log axis; crosses mark non-finite iterations.

    Args:
        axes: the Axes to draw into.
        series: name -> rows of ``diagnostics.training``.
    """
    for (name, rows), (colour, dash) in zip(series.items(), STYLES):
        x = np.array([row["iteration"] for row in rows])
        y = np.array([row["grad_norm"] for row in rows])
        finite = np.array([row["finite"] for row in rows]) & (y > 0)
        axes.semilogy(x[finite], y[finite], ".", color=colour, alpha=0.3, markersize=3)
        axes.semilogy(x[finite], _running_median(y[finite]), dash, color=colour, label=f"{name} (median of {SMOOTH})")
        if not finite.all():
            at = np.full((~finite).sum(), axes.get_ylim()[1])
            axes.plot(x[~finite], at, "x", color=colour, label=f"{name}: {len(at)} not finite", clip_on=False)
    axes.set(xlabel="meta-iteration", ylabel="norm of the meta-gradient")
    axes.legend(loc="best", fontsize="small")


def inner_gradient_norms(axes: Axes, rows: Rows) -> None:
    """Plot the norm of the support gradient against meta-iterations on a log axis, one line for each inner step.

    Args:
        axes: the Axes to draw into.
        rows: of ``diagnostics.inner_grad_norms``.
    """
    steps = sorted({row["step"] for row in rows})
    for step in steps:
        chosen = [row for row in rows if row["step"] == step and np.isfinite(row["norm"]) and row["norm"] > 0]
        x, y = ([row[key] for row in chosen] for key in ("iteration", "norm"))
        smooth = _running_median(np.array(y))
        line = axes.semilogy(x, smooth, color=_shade(step, len(steps)), label=f"step {step}")[0]
        line.set_linewidth(2.4 - 1.4 * step / max(len(steps) - 1, 1))
    axes.set(xlabel="meta-iteration", ylabel="norm of the support gradient")
    axes.legend(loc="best", fontsize="small", ncols=2, title="inner step")


def drift(axes: Axes, rows: Rows, *, value: str = "shift") -> None:
    """Plot the drift of the batch statistics over the inner steps, one line for each layer and pass.

    Args:
        axes: the Axes to draw into; its figure gets one legend beside its panels, whatever their number.
        rows: of ``diagnostics.bn_drift``.
        value: ``"shift"`` or ``"spread"``.
    """
    layers = sorted({row["layer"] for row in rows})
    for number, layer in enumerate(layers):
        for which, dash in (("support", "-"), ("query", "--")):
            chosen = [row for row in rows if row["layer"] == layer and row["pass"] == which]
            x, y = ([row[key] for row in chosen] for key in ("step", value))
            label = f"{layer}" if which == "support" else None
            axes.plot(x, y, dash, color=_shade(number, len(layers)), marker="osD^"[number % 4], ms=4, label=label)
    words = {"shift": "shift of the mean (standard deviations)", "spread": "standard deviation, relative to step 0"}
    axes.set(xlabel="inner step", ylabel=words[value], xticks=sorted({row["step"] for row in rows}))
    if not axes.figure.legends:
        lines, _ = axes.get_legend_handles_labels()
        style = {"title": "solid: support, dashed: query", "title_fontsize": "small", "fontsize": "small"}
        axes.figure.legend(handles=lines, loc="outside right center", **style)


def rate_map(axes: Axes, rows: Rows, *, start: float) -> None:
    """Plot the learned inner rates as a heat map centred on the initial rate, with their values.

    Args:
        axes: the Axes to draw into; its figure gets a colour bar.
        rows: of ``diagnostics.inner_rates``.
        start: the initial rate, shown in white.
    """
    tensors = list(dict.fromkeys(row["tensor"] for row in rows))
    n_steps = 1 + max(row["step"] for row in rows)
    table = np.array([row["rate"] for row in rows]).reshape(len(tensors), n_steps)
    reach = max(float(np.abs(table - start).max()), 1e-6)
    image = axes.imshow(table, cmap="PuOr_r", norm=TwoSlopeNorm(start, start - reach, start + reach), aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        dark = abs(value - start) > 0.65 * reach
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set(xticks=range(n_steps), yticks=range(len(tensors)), xlabel="inner step")
    axes.set_yticklabels(tensors)
    axes.figure.colorbar(image, ax=axes, label=f"inner rate (started at {start:g})")


def _shade(number: int, of: int) -> tuple[float, float, float, float]:
    return colormaps["viridis"](0.05 + 0.8 * number / max(of - 1, 1))


def _running_median(values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    half = SMOOTH // 2
    return [float(np.median(values[max(0, i - half) : i + half + 1])) for i in range(len(values))]
