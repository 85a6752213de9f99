"""Evaluation: the interval and the ensemble by hand, fixed episodes, and what the two normalisations mean."""

from __future__ import annotations

import doctest
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mamlkit import Config, Episode, EpisodeSampler, ImageStore, InputError, MetaLearner, configure
from mamlkit.core.inner_loop import inner_loop
from mamlkit.core.networks import MLP
from mamlkit.core.problem import Loss, Problem
from mamlkit.core.schedules import StepConfig
from mamlkit.datasets.sinusoids import Sinusoids
from mamlkit.engines.graph import EVALUATED_AT_ONCE
from mamlkit.training import evaluation
from mamlkit.training.evaluation import Evaluation, Sampler, evaluate, mean_ci95
from mamlkit.training.history import EpochRecord, best_epochs
from mamlkit.training.parallel import Ranks
from mamlkit.training.trainer import make_sampler

TINY = configure("mamlpp", n_way=2, filters=3, n_steps=2, n_tasks=2, eval_query=4, inner_lr=0.4, dtype="float64")
LAST = StepConfig((0.0, 1.0), second_order=False)


@dataclass
class Part:
    """Only some query images of each episode."""

    whole: Sampler
    chosen: slice

    def batch(self, first_index: int, n_tasks: int) -> Episode:
        batch = self.whole.batch(first_index, n_tasks)
        return batch._replace(query_x=batch.query_x[:, self.chosen], query_y=batch.query_y[:, self.chosen])


@pytest.fixture(scope="module")
def sampler(glyphs: ImageStore) -> EpisodeSampler:
    return make_sampler(glyphs, TINY, "val")


@pytest.fixture(scope="module")
def learner(glyphs: ImageStore) -> MetaLearner:
    """A learner whose recorded statistics are not those it began with; for reading only."""
    return stepped(glyphs, TINY)


def stepped(glyphs: ImageStore, config: Config) -> MetaLearner:
    learner = MetaLearner.from_config(config, (1, 28, 28))
    batches = make_sampler(glyphs, config, "train")
    for index in range(5):
        learner.apply(learner.meta_step(batches.batch(2 * index, 2), epoch=0), epoch=0)
    return learner


def logits_by_hand(learner: MetaLearner, episode: Episode) -> Tensor:
    config = StepConfig((0.0,) * (learner.config.n_steps - 1) + (1.0,), second_order=False)
    with torch.no_grad():
        _, trace = inner_loop(learner.problem, learner.meta, learner.buffers, learner.to_device(episode), config)
    return trace.query_logits


def test_the_examples_in_the_docstrings_are_right() -> None:
    result = doctest.testmod(evaluation)
    assert result.attempted >= 1
    assert result.failed == 0


@pytest.mark.parametrize("n", [2, 3, 600])
def test_the_interval_is_that_of_numpy(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    mean, half = mean_ci95(torch.from_numpy(values))
    assert mean == pytest.approx(np.mean(values), rel=1e-12)
    assert half == pytest.approx(1.959964 * np.std(values, ddof=1) / np.sqrt(n), rel=1e-12)


def test_equal_values_have_no_width_and_one_value_has_no_interval() -> None:
    assert mean_ci95(torch.full((7,), 0.25)) == (0.25, 0.0)
    mean, half = mean_ci95(torch.tensor([0.25]))
    assert mean == 0.25
    assert math.isnan(half)


def test_single_precision_values_are_averaged_in_double_precision() -> None:
    values = torch.full((10_000,), 0.1, dtype=torch.float32)
    values[0] = 1e5
    assert mean_ci95(values)[0] == pytest.approx((1e5 + 9_999 * float(np.float32(0.1))) / 10_000, abs=1e-6)


def test_the_mean_does_not_depend_on_the_order_of_the_values() -> None:
    generator = np.random.default_rng(0)
    values = generator.choice([0.2, 0.4, 0.6, 0.8], 600)
    means = {mean_ci95(torch.from_numpy(generator.permutation(values)))[0] for _ in range(50)}
    assert means == {math.fsum(values) / 600}


def test_a_mean_of_what_is_not_finite_is_not_finite() -> None:
    assert math.isnan(mean_ci95(torch.tensor([1.0, math.nan]))[0])
    assert mean_ci95(torch.tensor([1.0, math.inf]))[0] == math.inf
    assert math.isnan(mean_ci95(torch.tensor([-math.inf, math.inf]))[0])
    assert mean_ci95(torch.full((3,), 1e308, dtype=torch.float64))[0] == math.inf


def test_a_tiny_loss_is_not_rounded_away_and_its_best_epoch_is_found() -> None:
    config = Config(n_steps=2, inner_lr=0.01, dtype="float64")

    def tiny(outputs: Tensor, targets: Tensor) -> Tensor:
        return 1e-8 * F.mse_loss(outputs, targets)

    def regress(loss: Loss, seed: int, **values: Any) -> Evaluation:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = MLP(1, 1, hidden=(8,))
        learner = MetaLearner(Problem(model, loss), Config.from_dict(values, config))
        return evaluate([learner], Sinusoids("val"), 5)

    plain, small = ([regress(f, seed, inner_lr=lr) for seed in range(3)] for f, lr in ((F.mse_loss, 0.01), (tiny, 1e6)))
    assert [found.loss for found in small] == pytest.approx([1e-8 * found.loss for found in plain], rel=1e-9)
    ranks = [
        best_epochs([EpochRecord(i, (), found, 1.0) for i, found in enumerate(row, 1)], 3) for row in (plain, small)
    ]
    assert ranks[0] == ranks[1] != [1, 2, 3]


def test_accuracy_loss_and_interval_are_those_of_the_episodes_by_hand(
    learner: MetaLearner, sampler: EpisodeSampler
) -> None:
    episodes = [sampler.episode(index) for index in range(EVALUATED_AT_ONCE + 3)]
    logits = [logits_by_hand(learner, episode) for episode in episodes]
    right = [float((row.argmax(1) == e.query_y).double().mean()) for row, e in zip(logits, episodes)]
    losses = [float(F.cross_entropy(row, e.query_y)) for row, e in zip(logits, episodes)]
    found = evaluate([learner], sampler, len(episodes))
    assert found.accuracy == pytest.approx(np.mean(right), rel=1e-12)
    assert found.ci95 == pytest.approx(1.959964 * np.std(right, ddof=1) / math.sqrt(len(right)), rel=1e-12)
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-9)
    assert (found.episodes, found.norm) == (7, "batch")
    assert 0 < found.ci95 < 0.5


def test_an_ensemble_is_scored_by_the_mean_of_its_logits(
    learner: MetaLearner, sampler: EpisodeSampler, glyphs: ImageStore
) -> None:
    members = [learner, MetaLearner.from_config(Config.from_dict({"seed": 1}, TINY), (1, 28, 28)), learner]
    episodes = [sampler.episode(index) for index in range(9)]
    logits = [sum(logits_by_hand(member, episode) for member in members) / 3 for episode in episodes]
    losses = [float(F.cross_entropy(row, e.query_y)) for row, e in zip(logits, episodes)]
    right = [float((row.argmax(1) == e.query_y).double().mean()) for row, e in zip(logits, episodes)]
    found = evaluate(members, sampler, 9)
    assert found.loss == pytest.approx(np.mean(losses), abs=1e-6)
    assert found.accuracy == pytest.approx(np.mean(right), abs=1e-6)
    assert found.loss != evaluate([learner], sampler, 9).loss


class Listening(Ranks):
    """A place among processes that writes down what they would add up."""

    given: ClassVar[list[Tensor]] = []

    def total(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        self.given.extend(tensors)
        return [*tensors]


@pytest.mark.parametrize("episodes", [2, 3 * EVALUATED_AT_ONCE + 2])
def test_the_scores_of_three_processes_are_in_sum_those_of_one(
    learner: MetaLearner, sampler: EpisodeSampler, episodes: int
) -> None:
    Listening.given.clear()
    bars = []
    for place in (Listening(0, 1, 0), *(Listening(rank, 3, rank) for rank in range(3))):
        done: list[int] = []
        evaluate([learner], sampler, episodes, on_episodes=done.append, ranks=place)
        bars.append(sum(done))
    whole, *shares = Listening.given
    assert whole.shape == (1, 2, episodes)
    assert torch.allclose(sum(shares), whole, rtol=1e-12)
    assert bars[0] == sum(bars[1:]) == episodes


def test_in_single_precision_too_three_processes_have_the_scores_of_one_to_the_last_bit(glyphs: ImageStore) -> None:
    config = Config.from_dict({"dtype": "float32"}, TINY)
    Listening.given.clear()
    for place in (Listening(0, 1, 0), *(Listening(rank, 3, rank) for rank in range(3))):
        evaluate([stepped(glyphs, config)], make_sampler(glyphs, config, "val"), 3 * EVALUATED_AT_ONCE + 2, ranks=place)
    whole, *shares = Listening.given
    assert torch.equal(sum(shares), whole)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_fixed_episodes_give_equal_numbers_twice(learner: MetaLearner, glyphs: ImageStore, norm: str) -> None:
    first, second = (evaluate([learner], make_sampler(glyphs, TINY, "val"), 10, norm=norm) for _ in range(2))
    assert first == second
    assert first.norm == norm


def test_the_first_episodes_are_the_same_however_many_follow(learner: MetaLearner, sampler: EpisodeSampler) -> None:
    ten, two = (evaluate([learner], sampler, n).loss * n for n in (10, 2))

    @dataclass
    class Later:
        def batch(self, first_index: int, n_tasks: int) -> Episode:
            return sampler.batch(first_index + 2, n_tasks)

    assert ten == pytest.approx(two + 8 * evaluate([learner], Later(), 8).loss, abs=1e-5)


def test_no_learner_is_changed(learner: MetaLearner, sampler: EpisodeSampler) -> None:
    before = {name: tensor.detach().clone() for name, tensor in learner.state().items()}
    evaluate([learner, learner], sampler, 3)
    after = learner.state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(tensor.grad is None for tensor in learner.params.values())


@pytest.mark.parametrize("per_step", [True, False], ids=["statistics per step", "shared statistics"])
def test_only_with_recorded_statistics_a_prediction_is_free_of_the_rest_of_the_query_set(
    glyphs: ImageStore, sampler: EpisodeSampler, per_step: bool
) -> None:
    learner = stepped(glyphs, Config.from_dict({"per_step_stats": per_step}, TINY))
    parts = [Part(sampler, slice(0, 3)), Part(sampler, slice(3, 8))]  # of 8 query images

    def whole_and_mean_of_parts(norm: str) -> tuple[float, float]:
        whole = evaluate([learner], sampler, 4, norm=norm).loss
        first, second = (evaluate([learner], part, 4, norm=norm).loss for part in parts)
        return whole, (3 * first + 5 * second) / 8

    whole, mean = whole_and_mean_of_parts("running")
    assert whole == pytest.approx(mean, abs=2e-6)
    whole, mean = whole_and_mean_of_parts("batch")
    assert abs(whole - mean) > 1e-3


def test_the_configuration_names_the_normalisation_unless_told_otherwise(
    learner: MetaLearner, sampler: EpisodeSampler
) -> None:
    batch, running = (evaluate([learner], sampler, 4, norm=norm) for norm in ("batch", "running"))
    assert batch.loss != running.loss
    other = learner.reconfigure(Config.from_dict({"norm_eval": "running"}, TINY))
    assert evaluate([other], sampler, 4) == running
    assert evaluate([learner], sampler, 4) == batch
    assert evaluate([other], sampler, 4, norm="batch") == batch


def test_evaluation_steps_may_be_fewer_or_more_than_in_training(glyphs: ImageStore, sampler: EpisodeSampler) -> None:
    plain = configure("maml", **{**TINY.difference(configure("mamlpp")), "n_steps": 2})
    learner = stepped(glyphs, plain)
    losses = {}
    for steps in (1, 2, 4):
        other = learner.reconfigure(Config.from_dict({"eval_steps": steps}, plain))
        losses[steps] = evaluate([other], sampler, 4).loss
    assert losses[2] == evaluate([learner], sampler, 4).loss
    assert len(set(losses.values())) == 3


def test_a_regression_has_a_loss_and_no_accuracy() -> None:
    config = Config(n_steps=2, inner_lr=0.01)
    learner = MetaLearner(Problem(MLP(1, 1, hidden=(8,)), F.mse_loss), config)
    found = evaluate([learner], Sinusoids("val"), 5)
    assert math.isnan(found.accuracy)
    assert math.isnan(found.ci95)
    assert found.loss > 0


def test_a_progress_bar_hears_of_every_episode(learner: MetaLearner, sampler: EpisodeSampler) -> None:
    heard: list[int] = []
    at_once = EVALUATED_AT_ONCE * torch.get_num_threads()
    evaluate([learner], sampler, 2 * at_once + 1, on_episodes=heard.append)
    assert heard == [at_once, at_once, 1]


@pytest.mark.parametrize(
    ("members", "episodes", "sentence"),
    [
        (0, 4, "learners is empty; one or more are needed"),
        (1, 1, "episodes = 1 gives no interval; 2 or more are allowed"),
        (1, 0, "episodes = 0 gives no interval; 2 or more are allowed"),
        (1, -3, "episodes = -3 gives no interval; 2 or more are allowed"),
    ],
)
def test_no_learner_or_too_few_episodes_are_refused(
    learner: MetaLearner, sampler: Any, members: int, episodes: int, sentence: str
) -> None:
    with pytest.raises(InputError, match=f"^{sentence}$"):
        evaluate([learner] * members, sampler, episodes)


def test_an_unknown_normalisation_is_refused(learner: MetaLearner, sampler: EpisodeSampler) -> None:
    with pytest.raises(InputError, match="runing"):
        evaluate([learner], sampler, 2, norm="runing")


def test_the_next_episodes_are_drawn_while_the_present_ones_are_scored_and_no_thread_stays_behind(
    learner: MetaLearner, sampler: EpisodeSampler
) -> None:
    drawn, threads, second = [], [], threading.Event()

    class Listening:
        def batch(self, first_index: int, n_tasks: int) -> Episode:
            drawn.append((first_index, n_tasks))
            threads.append(threading.current_thread())
            if first_index:
                second.set()
            return sampler.batch(first_index, n_tasks)

    def interrupt(done: int) -> None:
        assert second.wait(30)
        raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match="enough"):
        evaluate([learner], Listening(), 100, on_episodes=interrupt)
    [(first, n), (following, _)] = drawn
    assert (first, following) == (0, n)
    assert threading.current_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)
