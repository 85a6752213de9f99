"""A game of one-shot rounds with the answers of all rivals; the reader answers in the page.

Axis letters: ``N`` pictures to choose from, ``H, W`` height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamlkit.core.episodes import Episode, EpisodeSampler, ImageStore, as_bytes
from mamlkit.core.errors import InputError
from mamlkit.show.live.classifier import NEAREST, Classifier, nearest
from mamlkit.training.learner import MetaLearner

Picture = NDArray[np.uint8]
CHANCE = "chance"  # a rival, beside the starts and nearest neighbour


class Round(NamedTuple):
    """One question: the reader finds the picture among N that shows the same character as the query."""

    support: Picture  # [N, H, W], ink 255 on 0
    query: Picture  # [H, W]
    truth: int  # index of the right picture
    answers: dict[str, int]  # rival -> index of the picture that it chooses


class Game(NamedTuple):
    """The rounds generated from one seed."""

    data: str  # name of the data set
    seed: int
    starts: tuple[str, ...]
    rounds: tuple[Round, ...]

    @property
    def n_way(self) -> int:
        """The number of pictures to choose from."""
        return len(self.rounds[0].support)

    @property
    def rivals(self) -> tuple[str, ...]:
        """The starts, nearest neighbour and chance."""
        return (*self.starts, NEAREST, CHANCE)

    def scores(self) -> dict[str, int]:
        """Return the number of rounds in which each rival is right."""
        return {name: sum(r.answers[name] == r.truth for r in self.rounds) for name in self.rivals}


def make_game(
    store: ImageStore,
    starts: Mapping[str, MetaLearner],
    draw: Callable[[Picture], Picture],
    *,
    n_rounds: int,
    n_way: int,
    seed: int,
    on_round: Callable[[int], object] | None = None,
) -> Game:
    """Sample a game from the test split and compute the answers of all rivals.

    A start adapts to the N pictures of a round and answers after its last inner step. The query picture is normalised
    together with the N pictures. Nearest neighbour picks the picture with the smallest squared pixel difference.

    Args:
        store: characters, ink 255 on 0.
        starts: name -> a start for at least N classes; at least one start.
        draw: converts a picture [H, W] of the store to the form that the starts were trained on.
        n_rounds: number of rounds, 1 or more.
        n_way: N, from 2 to the number of classes that all starts can handle.
        seed: 0 or more; different seeds give different rounds.
        on_round: called after each round with the number of finished rounds, for a progress bar.

    Raises:
        InputError: a size is out of range, there is no start, or the pictures are in colour.

    The game depends on the arguments alone. Source: the one-shot tasks of section 4.1 of the paper.
    """
    if n_rounds < 1:
        raise InputError(f"n_rounds = {n_rounds} is not positive; 1 or more is allowed")
    if not starts:
        raise InputError("there are 0 starts; one or more to play against is needed")
    sampler = EpisodeSampler(store, "test", n_way=n_way, k_shot=1, q_query=1, seed=seed)
    if sampler.image_shape[0] != 1:
        raise InputError(f"the pictures of {store.name} have {sampler.image_shape[0]} channels; only gray is allowed")
    rng = np.random.default_rng(seed)
    rounds: list[Round] = []
    for index in range(n_rounds):
        truth, guess = rng.integers(n_way, size=2).tolist()
        support, query = _pictures(sampler.episode(index), truth, draw)
        answers = {name: _adapted(start, support, query) for name, start in starts.items()}
        rounds.append(Round(support, query, truth, {**answers, NEAREST: nearest(support, query), CHANCE: guess}))
        if on_round is not None:
            on_round(len(rounds))
    return Game(store.name, seed, tuple(starts), tuple(rounds))


def _pictures(episode: Episode, truth: int, draw: Callable[[Picture], Picture]) -> tuple[Picture, Picture]:
    """Return one picture of each class [N, H, W], and another picture of the true class [H, W]."""
    images = torch.cat([episode.support_x, episode.query_x[truth, None]])[:, 0]  # [N + 1, H, W]
    drawn = np.stack([draw(image) for image in as_bytes(images)])
    return drawn[:-1], drawn[-1]


def _adapted(start: MetaLearner, support: Picture, query: Picture) -> int:
    classifier = Classifier(start, _pixels(support))
    return int(classifier.after(classifier.n_steps, _pixels(query[None])).argmax())


def _pixels(pictures: Picture) -> Tensor:
    return torch.from_numpy(pictures[:, None] / 255)  # [B, H, W] -> [B, 1, H, W]
