"""The exercises of notebook 10."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned


@exercise(
    "10.1",
    "as_ink(image)",
    "Three steps: colour to grey, 0..255 to 0..1, and light on dark.",
    "Grey: the mean over the last axis where there is one. Paper is most of the picture, so it is light where the mean "
    "is above a half.",
    "grey = image.mean(-1) / 255 if image.ndim == 3 else image / 255; return 1 - grey if grey.mean() > 0.5 else grey",
)
def check_as_ink(as_ink: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> None:
    """Accept any function that turns a picture on light or dark paper into light ink on dark."""
    ink = np.zeros((6, 8), np.uint8)
    ink[2:4, 1:6] = 200
    for grey, paper in ((ink, "dark"), (255 - ink, "light")):
        for image in (grey, np.repeat(grey[..., None], 3, axis=2)):
            before = image.copy()
            got = np.asarray(returned(as_ink(image)))
            what = f"for a picture of shape {image.shape} on {paper} paper"
            require(np.array_equal(image, before), "it changed the picture it was given; return a new one.")
            require(got.shape == ink.shape, f"{what} the result has shape {got.shape}; {ink.shape} is right.")
            in_range = bool(got.min() >= 0) and bool(got.max() <= 1)
            require(in_range, f"{what} the values reach from {got.min():g} to {got.max():g}; 0 to 1 is right.")
            kept = paper == "light" or got.mean() < 0.5
            require(kept, f"{what} it came out dark on light: that paper was dark already.")
            require(got.mean() < 0.5, f"{what} it came out dark on light; the start knows light ink on dark.")
            require(np.allclose(got, ink / 255, atol=0.01), f"{what} the ink is not as strong as it was.")


@exercise(
    "10.2",
    "confusion(given, true, n_way)",
    "A table of n_way rows and columns, zero at first; each query picture adds 1 to one cell.",
    "Its row is the true label, its column the label it was given.",
    "table = torch.zeros(n_way, n_way, dtype=torch.int64), then table[t, g] += 1 for each pair t, g.",
)
def check_confusion(confusion: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Accept any table of counts with the true label as row; name a transposed and an overwritten table."""
    true = torch.tensor([0, 0, 0, 1, 1, 2])
    given = torch.tensor([0, 1, 1, 1, 0, 0])
    right = torch.tensor([[1, 2, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    got = torch.as_tensor(returned(confusion(given, true, 4)))
    require(got.shape == right.shape, f"for 4 classes the table has shape {list(got.shape)}; [4, 4] is right.")
    require(not torch.equal(got, right.T), "rows and columns are turned: the row is the true label.")
    once = bool(got.max() == 1) and torch.equal(got > 0, right > 0)
    require(not once, "a cell that is met twice counts 1; with table[true, given] += 1 the second one is lost.")
    total = int(got.sum())
    require(total == 6, f"the table counts {total} pictures; 6 were given.")
    require(torch.equal(got.to(right.dtype), right), "a picture is counted in the wrong cell.")
