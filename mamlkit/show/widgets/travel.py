"""Walk through an inner loop: at each step the loss surface, the update, and the predictions for the query set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from mamlkit.core.errors import InputError
from mamlkit.show.live.travel import Travel
from mamlkit.show.widgets.explorer import Control, Explorer, decades, read_script, read_style
from mamlkit.show.widgets.fit import COLOURS, DASHES

LEAST = 1e-7  # losses below this have the same colour
SHARED = ("names", "axis", "rates", "confusion", "path")  # fields that must be equal, or equally shaped, for all starts


class TravelExplorer(Explorer):
    """Choose an inner step and a start; show everything about this step.

    The figure shows the support loss on the plane of the update and a random direction, the norm and the rate of the
    update in each tensor, the confusion table of the query images, and the losses and the accuracy at all steps.

    Args:
        travels: name of a start -> result of ``mamlkit.show.live.travel.travel``; the same task and grid for all.
        title: the title above the figure.
        at: initial positions of (inner step, start).

    Raises:
        InputError: there is no start, or the starts differ in their tensors, steps, classes or grids.
    """

    _esm = read_script("explorer.js", "travel.js")
    _css = read_style("travel.css")

    def __init__(
        self, travels: Mapping[str, Travel], *, title: str = "Inner-loop time travel", at: tuple[int, int] = (0, 0)
    ) -> None:
        _check(travels)
        self.series, found = list(travels), list(travels.values())
        stacked = {name: _stack([getattr(one, name) for one in found]) for name in Travel._fields if name != "names"}
        finite = np.isfinite(stacked["query_loss"])  # [starts, K + 1]; otherwise the logits mean nothing
        arrays = {
            "surfaces": stacked["surfaces"],  # [starts, K + 1, G, G]
            "path": stacked["path"],  # [starts, K + 1, K + 1, 2]
            "norms": stacked["update_norms"],  # [starts, K, n_adapted]
            "rates": stacked["rates"].swapaxes(1, 2),  # -> [starts, K, n_adapted]
            "confusion": np.where(finite[..., None, None], stacked["confusion"], np.nan),  # [starts, K + 1, N, N]
            "support": stacked["support_loss"],  # [starts, K + 1]
            "reached": stacked["reached_loss"],  # [starts, K]
            "query": stacked["query_loss"],  # [starts, K + 1]
            "accuracy": np.where(finite, stacked["query_accuracy"], np.nan),  # [starts, K + 1]
        }
        last = len(found[0].surfaces) - 1
        spec = {
            "series": self.series,
            "tensors": list(found[0].names),
            "reach": float(found[0].axis[-1]),
            "least": LEAST,
            "losses": decades(np.stack([arrays["support"], arrays["query"]]), 1e-4, 1e4),
        }
        controls = [
            Control("inner steps made", [f"{k} of {last}" for k in range(last + 1)], at[0]),
            Control("start", self.series, at[1], "choice"),
        ]
        super().__init__(arrays, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the surface with the path, the update by tensor, the confusion table and the curves."""
        step, start = at
        figure.set_size_inches(8.5, 5.4)
        (surface, update), (table, curves) = figure.subplots(2, 2, height_ratios=[1.7, 1])
        self._paint_surface(surface, step, start)
        self._paint_update(update, step, start)
        counts = self.arrays["confusion"][start, step]
        table.imshow(counts, vmin=0)
        for (label, given), count in np.ndenumerate(counts):
            table.text(given, label, f"{count:.0f}", ha="center", va="center", color="#888")
        table.set(xlabel="query image taken for", ylabel="true class", xticks=range(len(counts)))
        for i, name in enumerate(("support", "query")):
            curves.plot(self.arrays[name][start], DASHES[i], color=COLOURS[i], label=f"{name} loss")
        curves.axvline(step, color="#666", lw=1)
        curves.set(yscale="log", ylim=[10.0**power for power in self.spec["losses"]], xlabel="inner steps made")
        curves.set_title(f"query accuracy {100 * self.arrays['accuracy'][start, step]:.0f} %", fontsize="small")
        curves.legend(fontsize="small")

    def _paint_surface(self, axes: Axes, step: int, start: int) -> None:
        reach, path = self.spec["reach"], self.arrays["path"][start, step]
        heights = np.log10(self.arrays["surfaces"][start, step].clip(LEAST))
        edge = reach * (1 + 1 / (len(heights) - 1))  # a grid point is the centre of its pixel
        axes.imshow(
            np.where(np.isfinite(heights), heights, np.nan),
            origin="lower",
            extent=(-edge, edge, -edge, edge),
            interpolation="bilinear",
        )
        axes.plot(*path.T, "o--", color="white", mec="black", ms=4, lw=1)
        axes.plot(*path[step], "o", color="#ff8c1a", mec="black")
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="along the step", ylabel="random direction")
        axes.set_title(f"{self.series[start]}: log of the support loss around step {step}", fontsize="small")

    def _paint_update(self, axes: Axes, step: int, start: int) -> None:
        taken = min(step, self.arrays["norms"].shape[1] - 1)  # after the last step, show the last step
        norms, rates = self.arrays["norms"][start, taken], self.arrays["rates"][start, taken]
        labels = [f"{name}, rate {rate:.3f}" for name, rate in zip(self.spec["tensors"], rates)]
        axes.barh(labels, np.where(np.isfinite(norms), norms, 0.0), color=[COLOURS[int(rate < 0)] for rate in rates])
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelsize="small")
        axes.set_title(f"norm of step {taken} → {taken + 1}; a negative rate is orange", fontsize="small")


def _stack(values: list[Tensor]) -> NDArray[Any]:
    stacked: NDArray[Any] = torch.stack(values).cpu().numpy()
    return stacked


def _check(travels: Mapping[str, Travel]) -> None:
    if not travels:
        raise InputError("travels is empty; one start or more is needed")
    first, *others = travels.items()
    for name, other in others:
        for field in SHARED:
            one, two = _shape(getattr(first[1], field)), _shape(getattr(other, field))
            if one != two:
                raise InputError(f"{field} of {first[0]} is {one} and of {name} is {two}; the same are needed")


def _shape(value: Tensor | tuple[str, ...]) -> list[Any]:
    if not isinstance(value, Tensor):
        return list(value)
    return value.tolist() if value.ndim == 1 else list(value.shape)
