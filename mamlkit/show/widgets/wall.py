"""The classes of an episode as a grid of pictures; each query picture shows its predicted label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.show.widgets.episodes import by_class
from mamlkit.show.widgets.explorer import Control, Explorer, read_script
from mamlkit.show.widgets.probabilities import show_picture


class WallExplorer(Explorer):
    """Choose an episode, an inner step and a start; show which query pictures get the right label.

    Args:
        episodes: episodes of equal shape, images in [0, 1], ordered by class.
        labels: name of a start -> [K + 1, E, Q] predicted label of each query picture after 0..K inner steps.
        names: the name of each label, for each episode; default: no names.
        title: the title above the figure.
        series: the common name for the keys of ``labels``.
        stepless: the keys that make no inner step.
        at: initial positions of (episode, inner step, start).

    Raises:
        InputError: there is no episode or no start, or ``labels`` or ``names`` do not match the episodes.
    """

    _esm = read_script("explorer.js", "wall.js")

    def __init__(
        self,
        episodes: Sequence[Episode],
        labels: Mapping[str, NDArray[Any]],
        *,
        names: Sequence[Sequence[str]] | None = None,
        title: str = "Class wall",
        series: str = "start",
        stepless: Sequence[str] = (),
        at: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        if not episodes or not labels:
            raise InputError(
                f"there are {len(episodes)} episodes and {len(labels)} starts; one or more of each is needed"
            )
        n_way, n_queries = int(episodes[0].support_y.max()) + 1, len(episodes[0].query_y)
        self.names = [list(row) for row in names] if names is not None else [[""] * n_way for _ in episodes]
        if [len(row) for row in self.names] != [n_way] * len(episodes):
            counts = [len(row) for row in self.names]
            raise InputError(f"names has rows of {counts} names; each of the {len(episodes)} episodes needs {n_way}")
        tables = _stack(labels, len(episodes), n_queries, n_way)  # [starts, K + 1, E, Q]
        arrays = {
            "support": np.stack([by_class(e.support_x, n_way) for e in episodes]),  # -> [E, N, K, C, H, W]
            "query": np.stack([by_class(e.query_x, n_way) for e in episodes]),
            "labels": tables,
        }
        _, _, k_shot, channels, side, _ = arrays["support"].shape
        self.series = list(labels)
        sizes = {"nWay": n_way, "kShot": k_shot, "qQuery": n_queries // n_way, "side": side, "channels": channels}
        spec = {"series": self.series, "stepless": list(stepless), "names": self.names, **sizes}
        places = tables.shape[1]
        controls = [
            Control("episode", [str(index) for index in range(len(episodes))], at[0]),
            Control("inner step", [f"{k} of {places - 1}" for k in range(places)], at[1]),
            Control(series, self.series, at[2], "choice"),
        ]
        super().__init__(arrays, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the wall; above each query picture stand a tick or a cross and the predicted label."""
        episode, step, start = at
        support, query = self.arrays["support"][episode], self.arrays["query"][episode]  # [N, K, C, H, W]
        given = self.arrays["labels"][start, step, episode].reshape(query.shape[:2])  # [Q] -> [N, q]
        (n_way, k_shot), n_query = support.shape[:2], query.shape[1]
        figure.set_size_inches(1.8 + 0.62 * (k_shot + n_query), 0.5 + 0.78 * n_way)
        ratios = [1.0] * k_shot + [0.3] + [1.0] * n_query  # the narrow column separates support from query
        for (label, column), axes in np.ndenumerate(figure.subplots(n_way, len(ratios), width_ratios=ratios)):
            if column == k_shot:
                axes.axis("off")
            elif column < k_shot:
                show_picture(axes, support[label, column])
            else:
                number = column - k_shot - 1
                show_picture(axes, query[label, number])
                right = given[label, number] == label
                axes.set_title(f"{'✓' if right else '✗'} {given[label, number]}", fontsize="small", pad=2)
            if column == 0:
                text = f"{label} {self.names[episode][label]}".rstrip()
                axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize="small")
        name = self.series[start]
        after = "" if name in self.spec["stepless"] else f", after {step} inner steps"
        figure.suptitle(f"{name}{after}", fontsize="small")


def _stack(labels: Mapping[str, NDArray[Any]], n_episodes: int, n_queries: int, n_way: int) -> NDArray[np.uint8]:
    shapes = {table.shape for table in labels.values()}
    if len(shapes) > 1 or next(iter(shapes))[1:] != (n_episodes, n_queries):
        raise InputError(f"labels has tables of shapes {shapes}; (K + 1, {n_episodes}, {n_queries}) for all is needed")
    tables = np.stack(list(labels.values()))
    if tables.min() < 0 or tables.max() >= n_way:
        raise InputError(f"labels has values from {tables.min()} to {tables.max()}; 0 to {n_way - 1} are allowed")
    return tables.astype(np.uint8)
