"""The learned inner rates over meta-training, and the outer rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, read_script


class RateExplorer(Explorer):
    """Browse the epochs of a training: the inner rate of each tensor and step, and the schedule of the outer rate.

    The colour of a cell shows the change of its rate since the start. A negative rate has a minus sign and a frame.

    Args:
        history: [E + 1, n_adapted, K] inner rates before training and after each of E epochs.
        rows: names of the n_adapted tensors.
        outer_lrs: name of a schedule -> [E + 1] the outer rate of epochs 0..E; one to three schedules.
        title: the title above the figure.
        epoch: initial position of the slider.

    Raises:
        InputError: the shapes do not match.
    """

    _esm = read_script("explorer.js", "rates.js")

    def __init__(
        self,
        history: NDArray[Any],
        rows: Sequence[str],
        *,
        outer_lrs: Mapping[str, NDArray[Any]],
        title: str = "Learned inner rates",
        epoch: int = 0,
    ) -> None:
        if history.ndim != 3 or history.shape[1] != len(rows):
            raise InputError(
                f"history has shape {list(history.shape)}; [epochs + 1, {len(rows)}, steps] is allowed for the "
                f"{len(rows)} rows"
            )
        lengths = {name: len(rates) for name, rates in outer_lrs.items()}
        if not 1 <= len(lengths) <= 3 or set(lengths.values()) != {len(history)}:
            raise InputError(
                f"outer_lrs has lengths {lengths}; one to three schedules of the {len(history)} epochs of history are "
                "allowed"
            )
        arrays = {"rates": history, "outer": np.stack(list(outer_lrs.values()))}  # outer: [schedules, E + 1]
        last = len(history) - 1
        spec = {"rowNames": list(rows), "schedules": list(outer_lrs), **_scales(history, arrays["outer"])}
        controls = [
            Control("epoch", [f"{e} of {last}" for e in range(last + 1)], epoch),
            Control("outer rate", list(outer_lrs), kind="choice"),
        ]
        super().__init__(arrays, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the rates on the left and the schedules on the right."""
        epoch, schedule = at
        left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
        self._paint_rates(left, epoch)
        for i, name in enumerate(self.spec["schedules"]):
            chosen = i == schedule
            style = {"color": "#2077c4", "lw": 2} if chosen else {"color": "#888", "lw": 1, "ls": ":"}
            right.plot(self.arrays["outer"][i], label=name, **style)
        right.plot(epoch, self.arrays["outer"][schedule, epoch], "o", color="#2077c4")
        ticks, labels = zip(*self.spec["outerTicks"])
        right.set(xlabel="epoch", title="outer rate", yticks=ticks, yticklabels=labels)
        right.legend(fontsize="small")

    def _paint_rates(self, axes: Axes, epoch: int) -> None:
        table, reach = self.arrays["rates"][epoch], self.spec["reach"]
        change = table - self.arrays["rates"][0]
        axes.imshow(change, cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto")
        for (row, column), rate in np.ndenumerate(table):
            if not np.isfinite(rate):
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, ec="#c22d2d", hatch="xx"))
                continue
            colour = "white" if abs(change[row, column]) > 0.65 * reach else "black"
            axes.text(column, row, f"{rate:.3f}", ha="center", va="center", fontsize="small", color=colour)
            if rate < 0:
                axes.add_patch(Rectangle((column - 0.42, row - 0.4), 0.84, 0.8, fill=False, ec="#c65f00", lw=2.5))
        axes.set(xticks=range(table.shape[1]), yticks=range(len(table)), xlabel="inner step")
        axes.set_yticklabels(self.spec["rowNames"], fontsize="small")
        axes.set_title(f"inner rates, epoch {self.spec['controls'][0]['values'][epoch]}")


def _scales(history: NDArray[Any], outer: NDArray[Any]) -> dict[str, Any]:
    change = np.abs(history - history[0])
    reach = float(change[np.isfinite(change)].max(initial=0.0))
    top = float(outer[np.isfinite(outer)].max(initial=0.0)) or 1.0
    last = len(history) - 1
    return {
        "reach": reach or 1e-6,  # if no rate has changed, every cell is neutral
        "epochs": last,
        "epochTicks": sorted({round(share * last) for share in (0, 1 / 3, 2 / 3, 1)}),
        "outerTop": 1.1 * top,
        "outerTicks": [[share * top, f"{share * top:.2g}"] for share in (0.0, 0.5, 1.0)],
    }
