"""The norm of the meta-gradient against inner steps and rate, layer by layer: where it explodes, and remedies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, decades, read_script


class ExplosionExplorer(Explorer):
    """Vary the inner steps and the inner rate; make further choices, such as network and derivative order.

    Args:
        norms: [*choices, R, K + 1, layers + 1] l2 norm of the meta-gradient in each layer, the total last, after 0..K
            inner steps at each of R rates. NaN and inf are marked in the figure.
        choices: the label of each of the first axes, and the names along it.
        rates: [R] the inner rates.
        layers: names of the layers, without the total.
        title: the title above the figure.
        at: initial positions of steps, rate and each choice; empty: all 0.

    Raises:
        InputError: the names do not match the shape of ``norms``.
    """

    _esm = read_script("explorer.js", "explosion.js")

    def __init__(
        self,
        norms: NDArray[Any],
        *,
        choices: Mapping[str, Sequence[str]],
        rates: Sequence[float],
        layers: Sequence[str],
        title: str = "The norm of the meta-gradient",
        at: Sequence[int] = (),
    ) -> None:
        shape = (*map(len, choices.values()), len(rates), norms.shape[-2], len(layers) + 1)
        if norms.shape != shape:
            raise InputError(f"norms has shape {norms.shape}; choices, rates and layers ask for {shape}")
        self.layers, self.rates = [*layers, "total"], [f"{rate:g}" for rate in rates]
        low, high = decades(norms, 1e-3)
        at = at or [0] * (2 + len(choices))
        controls = [
            Control("inner steps", [str(k) for k in range(norms.shape[-2])], at[0]),
            Control("inner rate", self.rates, at[1]),
            *(Control(label, list(names), place, "choice") for (label, names), place in zip(choices.items(), at[2:])),
        ]
        spec = {"layers": self.layers, "rates": self.rates, "range": [low, high]}
        super().__init__({"norms": norms}, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the table of totals on the left, and the layers of the selected cell on the right."""
        step, rate, *place = at
        norms = self.arrays["norms"][tuple(place)]  # -> [R, K + 1, layers + 1]
        shown = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        low, high = (10.0**power for power in self.spec["range"])
        image = left.imshow(shown[..., -1], norm=LogNorm(low, high), aspect="auto", cmap="viridis", origin="lower")
        for row, column in zip(*np.nonzero(~np.isfinite(norms[..., -1]))):
            left.text(column, row, "✕", color="#c22d2d", ha="center", va="center")
        left.plot(step, rate, "s", ms=16, mfc="none", mec="#d96b00", mew=2.5)
        left.set(xlabel="inner steps", ylabel="inner rate", yticks=range(len(self.rates)), yticklabels=self.rates)
        figure.colorbar(image, ax=left, label="norm")
        right.set(yscale="log", ylim=(low, high))
        tops = np.clip(np.nan_to_num(shown[rate, step]), low, None) - low
        right.bar(self.layers, tops, bottom=low, color=["#2077c4"] * (len(self.layers) - 1) + ["#c65f00"])
        right.set(title=f"{step} steps at rate {self.rates[rate]}")
        right.tick_params("x", rotation=60)
