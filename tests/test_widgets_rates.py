"""The data behind the rate explorer, its refusals and its picture."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.show.widgets import RateExplorer

ROWS = ("convs.0.weight", "head.weight", "head.bias")
HISTORY = 0.1 + np.linspace(0, 1, 7)[:, None, None] * np.array([[0.05, -0.02], [-0.15, 0.0], [0.1, -0.3]])  # [7, 3, 2]
OUTER = {"cosine": np.linspace(1e-3, 1e-5, 7), "constant": np.full(7, 1e-3)}


def make(history: np.ndarray = HISTORY, epoch: int = 6) -> RateExplorer:
    return RateExplorer(history, ROWS, outer_lrs=OUTER, epoch=epoch)


def grey(explorer: RateExplorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L")).astype(int)


def test_all_rates_and_schedules_are_shipped_and_epoch_and_schedule_are_controls() -> None:
    explorer = make()
    assert np.array_equal(shipped(explorer, "rates"), HISTORY.astype(np.float32))
    assert np.array_equal(shipped(explorer, "outer"), np.stack(list(OUTER.values())).astype(np.float32))
    assert explorer.places == "epoch 6 of 6, outer rate cosine"
    assert [(control["kind"], len(control["values"])) for control in explorer.spec["controls"]] == [
        ("slider", 7),
        ("choice", 2),
    ]


def test_colours_reach_as_far_as_the_rate_that_moved_farthest_from_its_start() -> None:
    assert make().spec["reach"] == pytest.approx(0.3)
    shifted = HISTORY + np.array([[0.0], [5.0], [0.0]])  # another start of a row is no movement
    assert make(shifted).spec["reach"] == pytest.approx(0.3)


def test_rates_that_never_move_and_rates_that_are_not_finite_can_be_drawn() -> None:
    assert make(np.full((7, 3, 2), 0.1)).spec["reach"] > 0
    broken = HISTORY.copy()
    broken[3:, 1, 1] = np.nan
    explorer = make(broken)
    assert explorer.spec["reach"] == pytest.approx(0.3)
    assert np.isnan(shipped(explorer, "rates")[3:, 1, 1]).all()
    page = re.sub(r"base64,[\w+/=]+", "", explorer.html().split("<script>")[0])  # where these letters mean nothing
    assert "NaN" not in page
    assert (grey(explorer) != grey(make())).any()


def test_the_picture_follows_both_controls() -> None:
    explorer = make(epoch=0)
    pictures = [grey(explorer)]
    for at in ([6, 0], [6, 1]):
        explorer.at = at
        pictures.append(grey(explorer))
    assert all(picture.std() > 10 for picture in pictures)
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:]))


def test_a_negative_rate_and_no_other_is_framed_in_the_picture() -> None:
    figure = Figure()
    make().paint(figure, 6, 0)
    frames = [patch.get_xy() for patch in figure.axes[0].patches]
    assert np.allclose(frames, [(-0.42, 0.6), (0.58, 1.6)])  # column and row of -0.05 and of -0.2


@pytest.mark.parametrize("history", [HISTORY[0], HISTORY[:, :2]])
def test_a_history_that_does_not_fit_its_rows_is_refused(history: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\[epochs \+ 1, 3, steps\] is allowed"):
        make(history)


@pytest.mark.parametrize("outer", [{}, {"cosine": OUTER["cosine"][:-1]}, dict.fromkeys("abcd", OUTER["cosine"])])
def test_schedules_of_another_length_or_number_are_refused(outer: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match="one to three schedules of the 7 epochs"):
        RateExplorer(HISTORY, ROWS, outer_lrs=outer)
