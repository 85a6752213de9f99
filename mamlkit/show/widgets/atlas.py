"""The stability atlas as a figure: where short trainings die, how far a method moves the border, and how a run died.

Axis letters: ``N`` networks, ``M`` methods, ``K`` numbers of inner steps, ``R`` inner rates, ``I`` meta-iterations,
``E`` epochs, ``L`` layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, decades, read_script, read_style

AXES = ("network", "method", "inner steps", "inner rate")
CURVES = {"loss": 1e2, "grad_norm": 1e6}  # largest value told apart; the few above it are "at least" this
EVERY = 2  # of the meta-iterations one is shown, and of the epochs: 945 runs must fit into a page
HEAT = (-4, 6)  # powers of ten of the colours for norms of the support gradient; norms outside have the end's colour


class AtlasExplorer(Explorer):
    """Choose network and method, walk over inner steps and rates, and replay one run of the cell.

    Args:
        dead: [N, M, K, R] number of dead runs of each cell.
        accuracy: [N, M, K, R] mean test accuracy, fraction.
        curves: ``loss`` and ``grad_norm`` [N, M, K, R, I] of one run of each cell; inf and NaN are marked.
        inner_norms: number of inner steps -> [N, M, R, E, steps, L] largest norms of the support gradient of this run.
        axes: the names along [N], [M], [K] and [R].
        runs: number of runs of each cell.
        shown: [N, M, K, R] index in ``seeds`` of the run whose course is shown.
        seeds: the seeds.
        layers: [N] number of layers of each network.
        why: for each cell in the order [N, M, K, R], the reason if the run is dead, else empty.
        title: the title above the figure.
        at: initial positions of (network, method, steps, rate, meta-iteration); a half of the meta-iterations is shown.

    Raises:
        InputError: the names do not match the shape of ``dead``.
    """

    _esm = read_script("curves.js", "atlas_map.js", "atlas.js", "explorer.js")
    _css = read_style("curves.css")

    def __init__(
        self,
        *,
        dead: NDArray[Any],
        accuracy: NDArray[Any],
        curves: Mapping[str, NDArray[Any]],
        inner_norms: Mapping[int, NDArray[Any]],
        axes: Sequence[Sequence[str]],
        runs: int,
        shown: NDArray[Any],
        seeds: Sequence[int],
        layers: Sequence[int],
        why: Sequence[str],
        title: str = "Where training breaks",
        at: Sequence[int] = (0, 0, 0, 0, 0),
    ) -> None:
        controls = cell_controls(dead, axes, at)
        total, epochs = curves["loss"].shape[-1], next(iter(inner_norms.values())).shape[3]
        self._curves = {name: curves[name][..., ::EVERY] for name in CURVES}
        arrays, ranges = _levels(self._curves, {steps: norms[:, :, :, ::EVERY] for steps, norms in inner_norms.items()})
        arrays |= {"dead": dead.astype(np.uint8), "accuracy": accuracy, "shown": shown.astype(np.uint8)}
        controls.append(Control("meta-iteration", [str(i + 1) for i in range(0, total, EVERY)], at[-1]))
        spec = {
            "runs": runs,
            "seeds": list(seeds),
            "layers": list(layers),
            "why": list(why),
            "ranges": ranges,
            "epochs": epochs,
            "every": EVERY,
            "total": total,
        }
        super().__init__(arrays, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the maps of MAML and of the method on the left, and the norm of the meta-gradient on the right."""
        network, method, steps, rate, now = at
        top, below = figure.subplots(2, 2, width_ratios=[3, 4])
        for axes, shown in ((top[0], 0), (below[0], method)):
            self._map(axes, network, shown, (rate, steps))
        for axes, name, label in ((top[1], "loss", "meta-loss"), (below[1], "grad_norm", "norm of the meta-gradient")):
            values = np.asarray(self._curves[name][network, method, steps, rate], dtype=float)
            moments = 1 + EVERY * np.arange(len(values))
            axes.semilogy(moments, np.where(np.isfinite(values), values, np.nan), color="#2077c4")
            axes.axvline(moments[now], color="#c65f00", lw=1, ls="--")
            axes.set_ylabel(label, fontsize="small")
        below[1].set_xlabel("meta-iteration")

    def _map(self, axes: Axes, network: int, method: int, chosen: tuple[int, int]) -> None:
        _, methods, steps, rates, _ = (control["values"] for control in self.spec["controls"])
        cells = (self.arrays[name][network, method] for name in ("dead", "accuracy"))
        paint_map(axes, *cells, runs=self.spec["runs"], steps=steps, rates=rates)
        axes.plot(*chosen, "s", ms=22, mfc="none", mec="#d96b00", mew=2)
        axes.set_title(f"{methods[method]}: dead runs · accuracy (%)", fontsize="small")


def cell_controls(dead: NDArray[Any], axes: Sequence[Sequence[str]], at: Sequence[int]) -> list[Control]:
    """Return the controls that choose a cell: network, method, inner steps and inner rate.

    Args:
        dead: [N, M, K, R] a value of each cell.
        axes: the names along its axes.
        at: initial positions.

    Raises:
        InputError: the names do not match the shape of ``dead``.
    """
    if dead.shape != tuple(map(len, axes)):
        raise InputError(f"dead has shape {dead.shape}; the names ask for {tuple(map(len, axes))}")
    kinds = ("choice", "choice", "slider", "slider")
    return [Control(label, list(names), start, kind) for label, names, start, kind in zip(AXES, axes, at, kinds)]


def paint_map(
    axes: Axes, dead: NDArray[Any], accuracy: NDArray[Any], *, runs: int, steps: Sequence[str], rates: Sequence[str]
) -> None:
    """Draw the map of a network and a method: [K, R] numbers of dead runs and mean accuracies."""
    axes.imshow(dead / runs, cmap="Reds", vmin=0, vmax=1.2, origin="lower", aspect="auto")
    for (row, column), died in np.ndenumerate(dead):
        text = f"{died}/{runs} · {100 * accuracy[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7)
    axes.set(xticks=range(len(rates)), xticklabels=rates, yticks=range(len(steps)), yticklabels=steps)
    axes.set_ylabel("inner steps", fontsize="small")


def _levels(
    curves: Mapping[str, NDArray[Any]], inner_norms: Mapping[int, NDArray[Any]]
) -> tuple[dict[str, NDArray[Any]], dict[str, list[int]]]:
    """Return the curves and the norms as bytes by name, and the decades of their levels."""
    ranges = {name: decades(curves[name], 1e-6, most) for name, most in CURVES.items()}
    ranges["inner_norms"] = list(HEAT)
    arrays = {name: as_levels(curves[name], ranges[name]) for name in CURVES}
    inner = {f"inner_norms.{steps}": as_levels(norms, ranges["inner_norms"]) for steps, norms in inner_norms.items()}
    return {**arrays, **inner}, ranges


def as_levels(values: NDArray[Any], decades_of: Sequence[int]) -> NDArray[np.uint8]:
    """Return numbers over many decades as bytes: 0 if not finite, else 1 to 255 on a logarithmic scale.

    Args:
        values: at least 0.
        decades_of: the powers of ten of the levels 1 and 255; values outside are clipped.
    """
    low, high = decades_of
    known = np.isfinite(values)
    logs = np.log10(np.where(known, values, 1.0).clip(10.0**low, 10.0**high))
    levels: NDArray[np.uint8] = np.where(known, 1 + np.rint(254 * (logs - low) / (high - low)), 0).astype(np.uint8)
    return levels
