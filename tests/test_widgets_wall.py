"""WallExplorer: it ships what it was given, refuses what does not fit, and its picture follows the controls."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from test_widgets import shipped

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.show.widgets import Explorer, WallExplorer

E, N, K_SHOT, Q_QUERY, PLACES = 2, 3, 2, 2, 4
Q = N * Q_QUERY
NAMES = [["cup", "key", "leaf"], ["leaf", "cup", "pen"]]


def episodes(channels: int = 1) -> list[Episode]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N)
    return [
        Episode(
            torch.rand(N * K_SHOT, channels, 8, 8, generator=generator),
            labels.repeat_interleave(K_SHOT),
            torch.rand(Q, channels, 8, 8, generator=generator),
            labels.repeat_interleave(Q_QUERY),
        )
        for _ in range(E)
    ]


def labels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, N, (PLACES, E, Q)) for name in ("random", "MAML")}


def pixels(explorer: Explorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L"))


def test_every_label_and_every_picture_is_shipped_class_by_class() -> None:
    given, tasks = labels(), episodes()
    explorer = WallExplorer(tasks, given, names=NAMES)
    assert np.array_equal(shipped(explorer, "labels"), np.stack([given["random"], given["MAML"]]))
    assert shipped(explorer, "support").shape == (E, N, K_SHOT, 1, 8, 8)
    third = (tasks[1].query_x[5] * 255).round().byte().numpy()  # the second query picture of the third class
    assert np.array_equal(shipped(explorer, "query")[1, 2, 1], third)


def test_the_browser_knows_names_and_places() -> None:
    explorer = WallExplorer(episodes(), labels(), names=NAMES, at=(1, 3, 1))
    assert explorer.spec["names"] == NAMES
    assert explorer.places == "episode 1, inner step 3 of 3, start MAML"
    assert WallExplorer(episodes(), labels()).spec["names"] == [[""] * N] * E
    assert WallExplorer(episodes(), labels(), series="method").places.endswith("step 0 of 3, method random")


def test_a_tick_stands_above_right_pictures_and_a_cross_above_wrong_ones() -> None:
    given = {"MAML": np.zeros((1, E, Q), int)}
    figure = Figure()
    WallExplorer(episodes(), given).paint(figure, 0, 0, 0)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["✓ 0"] * Q_QUERY + ["✗ 0"] * (Q - Q_QUERY)


def test_what_takes_no_step_has_none_in_its_title() -> None:
    explorer, titles = WallExplorer(episodes(), labels(), stepless=["random"]), []
    for start in (0, 1):
        figure = Figure()
        explorer.paint(figure, 0, 2, start)
        titles.append(figure.get_suptitle())
    assert titles == ["random", "MAML, after 2 inner steps"]


def test_the_picture_follows_each_control() -> None:
    explorer = WallExplorer(episodes(), labels(), names=NAMES)
    seen = [pixels(explorer)]
    for at in ([1, 0, 0], [0, 3, 0], [0, 0, 1]):
        explorer.at = at
        seen.append(pixels(explorer))
    assert all(image.std() > 10 for image in seen)
    assert all(image.shape != seen[0].shape or (image != seen[0]).any() for image in seen[1:])


def test_colour_pictures_keep_three_channels() -> None:
    explorer = WallExplorer(episodes(channels=3), labels())
    assert shipped(explorer, "query").shape == (E, N, Q_QUERY, 3, 8, 8)
    assert pixels(explorer).std() > 10


def test_no_episode_and_no_start_are_refused() -> None:
    with pytest.raises(InputError, match="0 episodes and 2 starts"):
        WallExplorer([], labels())
    with pytest.raises(InputError, match="2 episodes and 0 starts"):
        WallExplorer(episodes(), {})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"a": np.zeros((PLACES, E + 1, Q), int)}, r"\(K \+ 1, 2, 6\) for all"),
        ({"a": np.zeros((PLACES, E, Q), int), "b": np.zeros((1, E, Q), int)}, "for all"),
        ({"a": np.full((PLACES, E, Q), N)}, "from 3 to 3; 0 to 2"),
        ({"a": np.full((PLACES, E, Q), -1)}, "from -1 to -1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(wrong: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WallExplorer(episodes(), wrong)


def test_too_few_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"\[3, 1\] names; each of the 2 episodes needs 3"):
        WallExplorer(episodes(), labels(), names=[NAMES[0], ["cup"]])
