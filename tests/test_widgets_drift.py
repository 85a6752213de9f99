"""The data behind the drift explorer, its refusals and its picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.show.widgets import DriftExplorer

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(4, 2, 5, 3))
VAR = RNG.uniform(0.5, 2, size=(4, 2, 5, 3))


def test_all_four_tables_are_shipped_and_step_channel_and_layer_are_controls() -> None:
    explorer = DriftExplorer(MEAN, VAR, layers=("first", "last"), at=(1, 2, 1))
    assert np.array_equal(shipped(explorer, "mean"), MEAN.astype(np.float32))
    assert np.array_equal(shipped(explorer, "var"), VAR.astype(np.float32))
    assert explorer.places == "inner step 1, channel 2, layer last"
    assert [len(control["values"]) for control in explorer.spec["controls"]] == [5, 3, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_picture_follows_the_controls_and_leaves_a_gap(bad: float) -> None:
    mean = MEAN.copy()
    mean[1, 0, 2] = bad
    explorer = DriftExplorer(mean, VAR, layers=("first", "last"))
    pictures = []
    for at in ([0, 0, 0], [2, 0, 0], [2, 1, 0], [2, 1, 1]):
        explorer.at = at
        pictures.append(np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L")).astype(int))
    assert all(picture.std() > 10 for picture in pictures)
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:]))


@pytest.mark.parametrize(
    ("mean", "var", "layers"),
    [(MEAN, VAR[:, :, :4], ("a", "b")), (MEAN[:3], VAR[:3], ("a", "b")), (MEAN, VAR, ("a",))],
)
def test_tables_that_do_not_fit_are_refused(mean, var, layers) -> None:
    with pytest.raises(InputError, match="both need"):
        DriftExplorer(mean, var, layers=layers)
