"""A game: its rounds come from the test split, each rival answers by itself, and a seed deals one game."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mamlkit import Config, InputError, MetaLearner
from mamlkit.core.episodes import EpisodeSampler, ImageStore
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.live.game import CHANCE, NEAREST, Game, Round, make_game

ROUNDS, N = 6, 4
CONFIG = Config(n_way=5, filters=3, n_steps=3, per_step_bn=True, per_step_stats=True, device="cpu")
STARTS = {
    "MAML": MetaLearner.from_config(CONFIG, (1, 28, 28)),
    "MAML++": MetaLearner.from_config(replace(CONFIG, seed=1), (1, 28, 28)),
}


def make(store: ImageStore, **changes: Any) -> Game:
    sizes = {"n_rounds": ROUNDS, "n_way": N, "seed": 0, "starts": STARTS, "draw": lambda image: image, **changes}
    return make_game(store, sizes.pop("starts"), sizes.pop("draw"), **sizes)


@pytest.fixture(scope="module")
def game(glyphs: ImageStore) -> Game:
    return make(glyphs)


def test_the_query_is_another_picture_of_the_true_test_class(glyphs: ImageStore, game: Game) -> None:
    sampler = EpisodeSampler(glyphs, "test", n_way=N, k_shot=1, q_query=1, seed=0)
    for index, played in enumerate(game.rounds):
        episode = sampler.episode(index)
        assert np.array_equal(played.support / np.float32(255), episode.support_x[:, 0])
        assert np.array_equal(played.query / np.float32(255), episode.query_x[played.truth, 0])
        assert (played.query != played.support[played.truth]).any()
    assert len({played.truth for played in game.rounds}) > 1


def test_a_start_adapts_to_the_pictures_and_answers_after_its_last_step(game: Game) -> None:
    given = []
    for played in game.rounds:
        support = torch.tensor(played.support[:, None] / 255)
        query = torch.tensor(played.query[None, None] / 255)
        for name, start in STARTS.items():
            shares = Classifier(start, support).probabilities(query, "batch")[0]  # [K + 1, N]
            assert played.answers[name] == shares[-1].argmax()
            given.append([played.answers[name], int(shares[0].argmax())])
    assert any(last != first for last, first in given)  # so that an answer before any step would be seen


def test_nearest_neighbour_takes_the_picture_that_differs_least(glyphs: ImageStore) -> None:
    game = make(glyphs, draw=lambda image: image // 2 + np.roll(image, 1, axis=1) // 3, n_rounds=12)  # shades of gray
    for played in game.rounds:
        distances = [np.linalg.norm(image.astype(float) - played.query) for image in played.support]
        assert played.answers[NEAREST] == int(np.argmin(distances))


def test_chance_guesses_without_looking(glyphs: ImageStore) -> None:
    start = {"one": MetaLearner.from_config(replace(CONFIG, filters=1, n_steps=1), (1, 28, 28))}
    game = make(glyphs, n_rounds=80, n_way=2, starts=start)
    assert 20 <= game.scores()[CHANCE] <= 60  # 40 expected; both ends are 4.5 standard deviations away
    assert 0.2 < np.mean([played.answers[CHANCE] for played in game.rounds]) < 0.8


def test_every_picture_is_drawn_before_anybody_sees_it(glyphs: ImageStore, game: Game) -> None:
    turned = make(glyphs, draw=lambda image: 255 - image)
    for plain, other in zip(game.rounds, turned.rounds):
        assert np.array_equal(other.support, 255 - plain.support)
        assert np.array_equal(other.query, 255 - plain.query)
    assert [r.answers["MAML"] for r in turned.rounds] != [r.answers["MAML"] for r in game.rounds]


def same(one: Round, other: Round) -> bool:
    pictures = np.array_equal(one.support, other.support) and np.array_equal(one.query, other.query)
    return pictures and (one.truth, one.answers) == (other.truth, other.answers)


def test_a_seed_deals_one_game_and_another_seed_another(glyphs: ImageStore, game: Game) -> None:
    assert all(map(same, make(glyphs).rounds, game.rounds))
    assert not any(map(same, make(glyphs, seed=1).rounds, game.rounds))
    assert all(map(same, make(glyphs, n_rounds=2).rounds, game.rounds))  # a shorter game begins alike


def test_a_game_knows_its_rivals_and_their_scores(game: Game) -> None:
    assert (game.data, game.seed, game.n_way, len(game.rounds)) == ("glyphs", 0, N, ROUNDS)
    assert game.rivals == ("MAML", "MAML++", NEAREST, CHANCE)
    picture = np.zeros((4, 4), np.uint8)
    answers = [{"a": 0, NEAREST: 1, CHANCE: 2}, {"a": 1, NEAREST: 1, CHANCE: 0}]
    rounds = tuple(Round(picture[None].repeat(3, 0), picture, 1, row) for row in answers)
    assert Game("some", 0, ("a",), rounds).scores() == {"a": 1, NEAREST: 2, CHANCE: 0}


def test_it_tells_after_each_round_how_many_are_dealt(glyphs: ImageStore) -> None:
    told: list[int] = []
    make(glyphs, n_rounds=3, on_round=told.append)
    assert told == [1, 2, 3]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_rounds": 0}, "n_rounds = 0 is not positive"),
        ({"starts": {}}, "there are 0 starts"),
        ({"n_way": 0}, "n_way = 0 is not positive"),
        ({"n_way": 1}, "there are 1 classes; this start serves 2 to 5"),
        ({"n_way": 6}, "there are 6 classes; this start serves 2 to 5"),
        ({"n_way": 999}, "n_way = 999 is more than the 210 classes in the test split of glyphs"),
        ({"seed": -1}, "seed = -1 is negative"),
    ],
)
def test_a_game_that_cannot_be_dealt_is_refused(glyphs: ImageStore, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(glyphs, **wrong)


def test_pictures_with_colours_are_refused(glyphs: ImageStore) -> None:
    colours = replace(glyphs, images=glyphs.images[..., None].repeat(3, -1))
    with pytest.raises(InputError, match="the pictures of glyphs have 3 channels; only gray is allowed"):
        make(colours)
