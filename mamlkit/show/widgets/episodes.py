"""Browse few-shot episodes as the network receives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from mamlkit.core.episodes import Episode, as_bytes
from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, read_script


class EpisodeExplorer(Explorer):
    """Browse episodes: one row for each class, with its support images on the left and its query images on the right.

    Args:
        episodes: episodes of equal shape, images in [0, 1], ordered by class. About 100,000 pixels keep a saved
            notebook small.
        names: the name of each label, for each episode; default: no names.
        title: the title above the figure.
        step: initial position of the slider.

    Raises:
        InputError: there is no episode, or ``names`` does not match them.
    """

    _esm = read_script("explorer.js", "episodes.js")

    def __init__(
        self,
        episodes: Sequence[Episode],
        *,
        names: Sequence[Sequence[str]] | None = None,
        title: str = "Episodes",
        step: int = 0,
    ) -> None:
        if not episodes:
            raise InputError("episodes is empty; one episode or more is allowed")
        n_way = int(episodes[0].support_y.max()) + 1
        self.names = [list(row) for row in names] if names is not None else [[""] * n_way for _ in episodes]
        if [len(row) for row in self.names] != [n_way] * len(episodes):
            raise InputError(
                f"names has rows of {[len(row) for row in self.names]} names; each of the {len(episodes)} "
                f"episodes needs {n_way}"
            )
        arrays = {
            "support": np.stack([by_class(e.support_x, n_way) for e in episodes]),  # -> [E, N, K, C, H, W]
            "query": np.stack([by_class(e.query_x, n_way) for e in episodes]),
        }
        _, _, k_shot, channels, side, _ = arrays["support"].shape
        spec = {
            "nWay": n_way,
            "kShot": k_shot,
            "qQuery": arrays["query"].shape[2],
            "side": side,
            "channels": channels,
            "names": self.names,
        }
        values = [str(index) for index in range(len(episodes))]
        super().__init__(arrays, title=title, controls=[Control("episode", values, step)], spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the episode as a grid of pictures."""
        [step] = at
        support, query = self.arrays["support"][step], self.arrays["query"][step]  # [N, K, C, H, W]
        n_way, k_shot = support.shape[:2]
        images = np.concatenate([support, query], axis=1)  # -> [N, K + q, C, H, W]
        n_images = images.shape[1]
        figure.set_size_inches(1.8 + 0.6 * n_images, 0.3 + 0.6 * n_way)
        ratios = [1.0] * k_shot + [0.3] + [1.0] * (n_images - k_shot)  # the narrow column separates support from query
        for (label, column), axes in np.ndenumerate(figure.subplots(n_way, n_images + 1, width_ratios=ratios)):
            axes.set(xticks=[], yticks=[])
            if column == k_shot:
                axes.axis("off")
                continue
            pixels = np.moveaxis(images[label, column - (column > k_shot)], 0, -1)  # [C, H, W] -> [H, W, C]
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            if column == 0:
                text = f"{label} {self.names[step][label]}".rstrip()
                axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize="small")
            if label == 0 and column in (0, k_shot + 1):
                axes.set_title("support" if column == 0 else "query", fontsize="small")


def by_class(images: Tensor, n_way: int) -> NDArray[np.uint8]:
    """Return images [N K, C, H, W] in [0, 1], ordered by class, as bytes [N, K, C, H, W]."""
    pixels = as_bytes(images)
    return pixels.reshape(n_way, -1, *pixels.shape[1:])  # [N K, C, H, W] -> [N, K, C, H, W]
