"""The statistics of one batch-norm channel over the inner steps, beside the recorded statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, read_script

SERIES = ("support", "query", "recorded", "shared")


class DriftExplorer(Explorer):
    """Choose a layer, a channel and an inner step; show mean and variance of the support pass and of the query pass.

    Args:
        mean: [4, L, K, C] the mean of each layer, step and channel: of the support pass, of the query pass, as recorded
            for this step, and as a single set for all steps would have recorded it.
        var: [4, L, K, C] the variances.
        layers: names of the L layers.
        title: the title above the figure.
        at: initial positions of (step, channel, layer).

    Raises:
        InputError: the two tables differ in shape, or the names do not match them.
    """

    _esm = read_script("explorer.js", "drift.js")

    def __init__(
        self,
        mean: NDArray[Any],
        var: NDArray[Any],
        *,
        layers: tuple[str, ...],
        title: str = "Batch-norm statistics over the inner steps",
        at: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        if mean.shape != var.shape or mean.shape[:2] != (len(SERIES), len(layers)):
            raise InputError(
                f"mean and var have shapes {mean.shape} and {var.shape}; both need ({len(SERIES)}, {len(layers)}, K, C)"
            )
        controls = [
            Control("inner step", [str(k) for k in range(mean.shape[2])], at[0]),
            Control("channel", [str(c) for c in range(mean.shape[3])], at[1]),
            Control("layer", list(layers), at[2], "choice"),
        ]
        super().__init__({"mean": mean, "var": var}, title=title, controls=controls, spec={"series": list(SERIES)})

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw mean and standard deviation over the steps, and the four bell curves at the chosen step."""
        step, channel, layer = at
        mean, deviation = (self.arrays[name][:, layer, :, channel] for name in ("mean", "var"))  # [4, K]
        deviation = np.sqrt(np.maximum(deviation, 0))
        styles: list[Mapping[str, Any]] = [
            {"color": "#2077c4", "ls": "-"},
            {"color": "#c65f00", "ls": "--"},
            {"color": "#17805f", "ls": ":"},
            {"color": "#777777", "ls": "-."},
        ]
        left, middle, right = figure.subplots(1, 3)
        grid = _grid(mean[:, step], deviation[:, step])
        for name, style, m, s in zip(SERIES, styles, mean, deviation):
            left.plot(m, label=name, **style)
            middle.plot(s, **style)
            if np.isfinite(m[step] + s[step]):
                right.plot(grid, np.exp(-(((grid - m[step]) / max(s[step], 1e-6)) ** 2) / 2), **style)
        for axes in (left, middle):
            axes.axvline(step, color="#999", lw=0.8)
            axes.set(xlabel="inner step")
        left.set(title="mean")
        middle.set(title="standard deviation")
        right.set(title=f"at step {step}", yticks=[])
        figure.legend(loc="outside lower center", ncols=4)


def _grid(mean: NDArray[Any], deviation: NDArray[Any]) -> NDArray[Any]:
    edges = np.concatenate([mean - 3 * deviation, mean + 3 * deviation])
    edges = edges[np.isfinite(edges)]
    low, high = (edges.min(), edges.max()) if edges.size else (0.0, 1.0)
    return np.linspace(low, high if high > low else low + 1, 121)
