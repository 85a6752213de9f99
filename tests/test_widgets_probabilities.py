"""ProbabilityExplorer: it ships what it was given, refuses what does not fit, and its picture follows the controls."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from test_widgets import shipped

from mamlkit.core.episodes import Episode, as_bytes
from mamlkit.core.errors import InputError
from mamlkit.show.widgets import Explorer, ProbabilityExplorer
from mamlkit.show.widgets.probabilities import paint_bars

N, Q, PLACES = 3, 6, 4
TRUTH = [0, 0, 1, 1, 2, 2]


def episode(k_shot: int = 1) -> Episode:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N).repeat_interleave(k_shot)
    return Episode(
        torch.rand(N * k_shot, 1, 8, 8, generator=generator),
        labels,
        torch.rand(Q, 1, 8, 8, generator=generator),
        torch.tensor(TRUTH),
    )


def tables(bad: float | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {name: rng.dirichlet(np.ones(N), (PLACES, Q)) for name in ("random", "MAML")}
    if bad is not None:
        made["MAML"][2, 1, 0] = bad
    return made


def pixels(explorer: Explorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L"))


def test_every_probability_and_every_picture_is_shipped() -> None:
    given, task = tables(), episode()
    explorer = ProbabilityExplorer(task, given)
    table = shipped(explorer, "probabilities")
    assert table.shape == (2, PLACES, Q, N)
    assert np.array_equal(table[1], given["MAML"].astype(np.float32))
    assert np.array_equal(shipped(explorer, "query"), (task.query_x * 255).round().byte().numpy())
    assert np.array_equal(shipped(explorer, "support"), (task.support_x * 255).round().byte().numpy())


def test_the_browser_knows_the_true_classes_and_the_places() -> None:
    explorer = ProbabilityExplorer(episode(), tables(), at=(4, 1, 1))
    assert explorer.spec["truth"] == TRUTH
    assert explorer.spec["series"] == ["random", "MAML"]
    assert [len(control["values"]) for control in explorer.spec["controls"]] == [Q, PLACES, 2]
    assert explorer.places == "query picture 4 of 5, inner step 1 of 3, start MAML"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_probability_that_is_not_finite_is_shipped_and_drawn_as_a_cross(bad: float) -> None:
    explorer = ProbabilityExplorer(episode(), tables(bad), at=(1, 2, 1))
    assert not np.isfinite(shipped(explorer, "probabilities")[1, 2, 1, 0])
    axes = Figure().subplots()
    paint_bars(axes, tables(bad)["MAML"][2, 1], as_bytes(episode().support_x), truth=0, colour="red")
    assert axes.texts[0].get_text() == "✕"
    assert pixels(explorer).std() > 10


def test_the_bars_say_their_percentage_and_outline_the_true_class_only() -> None:
    axes = Figure().subplots()
    paint_bars(axes, np.array([0.25, 0.75, 0.0]), as_bytes(episode().support_x), truth=1, colour="red")
    assert [text.get_text() for text in axes.texts] == ["25", "75", "0"]
    assert [bar.get_height() for bar in axes.patches] == [25, 75, 0]
    assert [bar.get_edgecolor()[:3] == (0, 0, 0) for bar in axes.patches] == [False, True, False]


def test_the_picture_follows_each_control() -> None:
    explorer = ProbabilityExplorer(episode(), tables())
    seen = [pixels(explorer)]
    for at in ([3, 0, 0], [0, 2, 0], [0, 0, 1]):
        explorer.at = at
        seen.append(pixels(explorer))
    assert all(image.std() > 10 for image in seen)
    assert all((image != seen[0]).any() for image in seen[1:] if image.shape == seen[0].shape)


def test_two_support_pictures_of_a_class_are_refused() -> None:
    with pytest.raises(InputError, match="6 support pictures for 3 classes; one for each"):
        ProbabilityExplorer(episode(k_shot=2), tables())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "one to three"),
        ({str(i): np.zeros((PLACES, Q, N)) for i in range(4)}, "one to three"),
        ({"a": np.zeros((PLACES, Q, N)), "b": np.zeros((PLACES + 1, Q, N))}, "equal shape"),
        ({"a": np.zeros((PLACES, Q, N + 1))}, r"\(4, 6, 4\); \(K \+ 1, 6, 3\) fits"),
        ({"a": np.zeros((Q, N))}, "K \\+ 1, 6, 3"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(wrong: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ProbabilityExplorer(episode(), wrong)
