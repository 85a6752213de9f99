"""The sinusoid toy: the ranges of the MAML paper, and targets that lie on the wave."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from mamlkit.core.errors import InputError
from mamlkit.datasets.sinusoids import Sinusoids


def test_targets_lie_on_the_wave_of_the_episode() -> None:
    waves = Sinusoids(k_shot=5, q_query=7)
    amplitude, phase = waves.wave(3)
    episode = waves.episode(3)
    assert [field.shape for field in episode] == [(5, 1), (5, 1), (7, 1), (7, 1)]
    assert {field.dtype for field in episode} == {torch.float32}
    for x, y in ((episode.support_x, episode.support_y), (episode.query_x, episode.query_y)):
        assert torch.allclose(y, amplitude * torch.sin(x - phase), atol=1e-5)
        assert len(x.unique()) == len(x)


def test_numbers_fill_the_ranges_of_the_paper() -> None:
    waves = Sinusoids()
    drawn = np.array([waves.wave(index) for index in range(500)])
    x = waves.batch(0, 500).query_x
    for values, low, high in ((drawn[:, 0], 0.1, 5.0), (drawn[:, 1], 0.0, math.pi), (x.numpy(), -5.0, 5.0)):
        edge = 0.02 * (high - low)
        assert low <= values.min() < low + edge
        assert high - edge < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 3 * edge


def test_an_episode_depends_on_seed_split_and_index_alone() -> None:
    assert torch.equal(Sinusoids().episode(4).query_y, Sinusoids().batch(3, 2).query_y[1])
    for other in (Sinusoids(seed=1), Sinusoids("val")):
        assert other.wave(4) != Sinusoids().wave(4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "tets"}, "did you mean 'test'"),
        ({"k_shot": 0}, "k_shot = 0 is too small; 1 or more is allowed"),
        ({"q_query": -2}, "q_query = -2 is too small"),
        ({"seed": -1}, "seed = -1 is too small; 0 or more is allowed"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sinusoids(**changes)
