"""The predictions for single query pictures, inner step by inner step, from several starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.episodes import Episode, as_bytes
from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, read_script
from mamlkit.show.widgets.fit import COLOURS, DASHES


class ProbabilityExplorer(Explorer):
    """Choose a query picture, an inner step and a start; show the probability of each class.

    Args:
        episode: one task with one support picture of each class, images in [0, 1].
        probabilities: name of a start -> [K + 1, Q, N] after 0..K inner steps; one to three starts.
        title: the title above the figure.
        at: initial positions of (query picture, inner step, start).

    Raises:
        InputError: the episode has several support pictures of a class, or ``probabilities`` does not match it.
    """

    _esm = read_script("explorer.js", "classes.js", "probabilities.js")

    def __init__(
        self,
        episode: Episode,
        probabilities: Mapping[str, NDArray[Any]],
        *,
        title: str = "What one query picture is taken for",
        at: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        n_way, n_queries = int(episode.support_y.max()) + 1, len(episode.query_y)
        if len(episode.support_y) != n_way:
            raise InputError(
                f"the episode has {len(episode.support_y)} support pictures for {n_way} classes; "
                "one for each class is allowed"
            )
        shapes = {table.shape for table in probabilities.values()}
        if not 1 <= len(probabilities) <= len(COLOURS) or len(shapes) > 1:
            raise InputError(f"probabilities has tables of shapes {shapes}; one to three of equal shape are allowed")
        [(places, *rest)] = shapes
        if rest != [n_queries, n_way]:
            raise InputError(
                f"probabilities has shape {(places, *rest)}; (K + 1, {n_queries}, {n_way}) fits the episode"
            )
        self.series = list(probabilities)
        arrays = {
            "support": as_bytes(episode.support_x),  # [N, C, H, W]
            "query": as_bytes(episode.query_x),  # [Q, C, H, W]
            "probabilities": np.stack(list(probabilities.values())),  # -> [starts, K + 1, Q, N]
        }
        _, channels, side, _ = arrays["support"].shape
        self.truth = [int(label) for label in episode.query_y]
        spec = {"series": self.series, "truth": self.truth, "side": side, "channels": channels}
        controls = [
            Control("query picture", [f"{i} of {n_queries - 1}" for i in range(n_queries)], at[0]),
            Control("inner step", [f"{k} of {places - 1}" for k in range(places)], at[1]),
            Control("start", self.series, at[2], "choice"),
        ]
        super().__init__(arrays, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the query picture, the bars above the support pictures, and the true class over the steps."""
        query, step, start = at
        left, middle, right = figure.subplots(1, 3, width_ratios=[1, 2.4, 1.4])
        own, table = self.truth[query], self.arrays["probabilities"][:, :, query]  # [starts, K + 1, N]
        show_picture(left, self.arrays["query"][query])
        left.set_title(f"query, class {own}", fontsize="small")
        paint_bars(middle, table[start, step], self.arrays["support"], truth=own, colour=COLOURS[start])
        middle.set_title(f"{self.series[start]}, after {step} steps", fontsize="small")
        for i, name in enumerate(self.series):
            right.plot(100 * table[i, :, own], label=name, color=COLOURS[i], ls=DASHES[i])
            right.plot(step, 100 * table[i, step, own], "os^"[i], color=COLOURS[i])
        right.axhline(100 / table.shape[-1], color="#666", lw=1, label="guessing")
        right.set(xlabel="inner step", ylim=(0, 112), ylabel="true class (%)")
        figure.legend(loc="outside lower center", ncols=4, fontsize="small")


def show_picture(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    """Draw one picture of bytes [C, H, W]."""
    axes.imshow(np.moveaxis(pixels, 0, -1), cmap="gray", vmin=0, vmax=255)  # [C, H, W] -> [H, W, C]
    axes.set(xticks=[], yticks=[])


def paint_bars(
    axes: Axes, shares: NDArray[Any], pictures: NDArray[np.uint8], *, truth: int | None, colour: str
) -> None:
    """Draw the picture of each class [N, C, H, W] and above it a bar, [N] in [0, 1] or none; outline the true class."""
    for label, share in enumerate(shares):
        edge, height = "black" if label == truth else colour, 100 * share if np.isfinite(share) else 0.0
        axes.bar(label, height, color=colour, edgecolor=edge, linewidth=1.5, width=0.55)
        text = f"{height:.0f}" if np.isfinite(share) else "✕"
        axes.annotate(text, (label, height), (0, 3), textcoords="offset points", ha="center")
    for label, picture in enumerate(pictures):
        show_picture(axes.inset_axes((label - 0.36, -52, 0.72, 38), transform=axes.transData), picture)
    axes.set(xlim=(-0.5, len(pictures) - 0.5), ylim=(0, 112), xticks=range(len(pictures)), ylabel="probability (%)")
