"""The fit of a few points after each inner step, from several starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, read_script

COLOURS = ("#2077c4", "#c65f00", "#17805f")
DASHES = ("-", "--", ":")


class FitExplorer(Explorer):
    """Browse the inner steps of a regression: the true curve, the support points, and the fit from each start.

    Args:
        x: [G] coordinates of the curves.
        truth: [G] the true curve.
        fits: name of a start -> [K + 1, G] the fit after 0..K inner steps; one to three starts.
        losses: name of a start -> [K + 1] the query loss after 0..K inner steps; the same names.
        support: the support points, ([S], [S]).
        title: the title above the figure.
        step: initial position of the slider.

    Raises:
        InputError: ``fits`` and ``losses`` have different names, or not one to three of them.
    """

    _esm = read_script("explorer.js", "fit.js")

    def __init__(
        self,
        x: NDArray[Any],
        truth: NDArray[Any],
        fits: Mapping[str, NDArray[Any]],
        *,
        losses: Mapping[str, NDArray[Any]],
        support: tuple[NDArray[Any], NDArray[Any]],
        title: str = "The fit after each inner step",
        step: int = 0,
    ) -> None:
        if list(fits) != list(losses) or not 1 <= len(fits) <= len(COLOURS):
            raise InputError(f"fits has {list(fits)} and losses {list(losses)}; one to three equal names are allowed")
        self.series = list(fits)
        arrays = {
            "x": x,
            "truth": truth,
            "fits": np.stack(list(fits.values())),  # -> [starts, K + 1, G]
            "losses": np.stack(list(losses.values())),  # -> [starts, K + 1]
            "support_x": support[0],
            "support_y": support[1],
        }
        values = [f"{k} of {arrays['fits'].shape[1] - 1}" for k in range(arrays["fits"].shape[1])]
        spec = {"series": self.series, **_axes(x, np.concatenate([truth, support[1]]), arrays["losses"])}
        super().__init__(arrays, title=title, controls=[Control("inner step", values, step)], spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the fits on the left and the losses on the right."""
        [step] = at
        left, right = figure.subplots(1, 2, width_ratios=[2, 1])
        x, losses = self.arrays["x"], self.arrays["losses"]
        left.plot(x, self.arrays["truth"], color="#666", lw=1, label="true curve")
        for i, name in enumerate(self.series):
            style = {"color": COLOURS[i], "ls": DASHES[i]}
            label = f"{name}: loss {_say(losses[i, step])}"
            left.plot(x, self.arrays["fits"][i, step], label=label, **style)
            right.semilogy(np.arange(losses.shape[1]), losses[i], **style)
            right.plot(step, losses[i, step], "os^"[i], color=COLOURS[i])
        left.plot(self.arrays["support_x"], self.arrays["support_y"], "o", mfc="white", mec="black", label="support")
        left.set(ylim=self.spec["yRange"], xlabel="x", title=f"after {step} inner steps")
        right.set(xlabel="inner step", title="query loss")
        figure.legend(loc="outside lower center", ncols=2, fontsize="small")


def _say(value: float) -> str:
    return f"{value:.2g}" if np.isfinite(value) else "not finite"


def _axes(x: NDArray[Any], y: NDArray[Any], losses: NDArray[Any]) -> dict[str, Any]:
    limit = float(np.ceil(np.abs(y[np.isfinite(y)]).max(initial=1.0) * 1.3))
    positive = losses[np.isfinite(losses) & (losses > 0)]
    low = int(np.floor(np.log10(positive.min(initial=1.0))))
    high = max(low + 1, int(np.ceil(np.log10(positive.max(initial=1.0)))))
    return {
        "xRange": [float(x.min()), float(x.max())],
        "xTicks": [int(tick) for tick in np.arange(np.ceil(x.min()), np.floor(x.max()) + 1)],
        "yRange": [-limit, limit],
        "yTicks": [-limit, -limit / 2, 0, limit / 2, limit],
        "lossRange": [10.0**low, 10.0**high],
        "lossTicks": [float(f"1e{power}") for power in range(low, high + 1, max(1, (high - low) // 4))],
    }
