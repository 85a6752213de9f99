"""Schedules: the authors' numbers, sums that are 1, the epochs at which something switches."""

from __future__ import annotations

import dataclasses
import doctest
import math

import pytest

from mamlkit.core import schedules
from mamlkit.core.config import Config
from mamlkit.core.schedules import (
    StepConfig,
    cosine_lr,
    eval_config,
    last_step_only,
    msl_weights,
    outer_lr,
    step_config,
)

CONFIG = Config(n_steps=5, epochs=100, multi_step_loss=True, msl_share=0.1)


def test_the_examples_in_the_docstrings_are_right() -> None:
    result = doctest.testmod(schedules)
    assert result.attempted >= 7
    assert result.failed == 0


@pytest.mark.parametrize(
    ("ramp", "epoch", "early", "last"),
    [
        (10, 0, 0.20, 0.20),
        (10, 1, 0.18, 0.28),
        (10, 5, 0.10, 0.60),
        (10, 9, 0.02, 0.92),
        (15, 0, 0.2, 0.2),
        (15, 1, 0.1867, 0.2533),
        (15, 5, 0.1333, 0.4667),
        (15, 10, 0.0667, 0.7333),
        (15, 14, 0.0133, 0.9467),
    ],
)
def test_the_multi_step_weights_are_the_authors(ramp: int, epoch: int, early: float, last: float) -> None:
    assert msl_weights(5, epoch, ramp) == pytest.approx((early,) * 4 + (last,), abs=5e-5)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("ramp", [1, 2, 10, 40, 100])
def test_the_multi_step_weights_follow_the_authors_formula(n_steps: int, ramp: int) -> None:
    for epoch in range(ramp + 3):
        early = max(1 / n_steps - epoch / (n_steps * ramp), 0.03 / n_steps)
        last = min(1 / n_steps + epoch * (n_steps - 1) / (n_steps * ramp), 1 - (n_steps - 1) * 0.03 / n_steps)
        expected = (early,) * (n_steps - 1) + (last if n_steps > 1 else 1.0,)
        assert msl_weights(n_steps, epoch, ramp) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("ramp", [0, 1, 10, 15, 100])
def test_the_multi_step_weights_sum_to_1(n_steps: int, ramp: int) -> None:
    for epoch in {0, max(ramp - 1, 0), ramp, ramp + 50}:
        weights = msl_weights(n_steps, epoch, ramp)
        assert len(weights) == n_steps
        assert math.fsum(weights) == pytest.approx(1.0, abs=1e-15)


def test_the_multi_step_weights_start_exactly_equal() -> None:
    assert all(len(set(msl_weights(n_steps, 0, 7))) == 1 for n_steps in range(1, 12))


def test_an_early_weight_keeps_3_percent_of_its_start() -> None:
    assert msl_weights(5, 96, 100)[0] == pytest.approx(0.04 / 5)
    assert msl_weights(5, 98, 100) == pytest.approx((0.006,) * 4 + (0.976,))
    assert msl_weights(5, 100, 100) == msl_weights(5, 1000, 100) == msl_weights(5, 98, 100)


def test_a_ramp_of_no_epochs_is_at_its_end_at_once() -> None:
    assert msl_weights(5, 0, 0) == msl_weights(5, 10, 10)


def test_plain_maml_weighs_the_last_step_alone() -> None:
    assert last_step_only(1) == (1.0,)
    assert last_step_only(4) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 1e-3), (1, 9.9976e-4), (25, 8.550e-4), (50, 5.05e-4), (75, 1.550e-4), (99, 1.0244e-5)]
)
def test_the_cosine_rates_are_the_authors(epoch: int, rate: float) -> None:
    assert cosine_lr(epoch, 100, 1e-3, 1e-5) == pytest.approx(rate, abs=5e-8)


def test_the_cosine_falls_from_start_to_end() -> None:
    rates = [cosine_lr(epoch, 20, 0.5, 0.1) for epoch in range(21)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == pytest.approx((0.5, 0.1), abs=1e-15)
    assert cosine_lr(7, 20, 0.3, 0.3) == 0.3


def test_the_outer_rate_is_constant_without_the_cosine() -> None:
    config = Config(outer_lr=0.02, epochs=30)
    assert [outer_lr(config, epoch) for epoch in (0, 15, 29)] == [0.02] * 3


def test_the_outer_rate_takes_the_cosine_of_the_configuration() -> None:
    config = Config(outer_lr=0.02, min_outer_lr=0.004, epochs=30, cosine_lr=True)
    rates = [outer_lr(config, epoch) for epoch in (0, 10, 15, 30)]
    assert rates == pytest.approx([0.02, 0.016, 0.012, 0.004], abs=1e-15)


def test_the_multi_step_loss_ends_with_its_share_of_the_epochs() -> None:
    assert step_config(CONFIG, 9).loss_weights == msl_weights(5, 9, 10)
    assert step_config(CONFIG, 10).loss_weights == last_step_only(5)
    assert step_config(CONFIG, 99).loss_weights == last_step_only(5)


def test_without_the_multi_step_loss_only_the_last_step_counts() -> None:
    config = dataclasses.replace(CONFIG, multi_step_loss=False)
    assert {step_config(config, epoch).loss_weights for epoch in (0, 5, 50)} == {last_step_only(5)}


@pytest.mark.parametrize(("epochs", "first"), [(150, 50), (15, 5), (3, 1), (1, 1)])
def test_second_order_begins_after_its_share_of_the_epochs(epochs: int, first: int) -> None:
    config = Config(epochs=epochs, first_order_share=1 / 3)
    orders = [step_config(config, epoch).second_order for epoch in range(epochs)]
    assert orders == [False] * first + [True] * (epochs - first)


def test_a_share_that_is_not_0_is_one_epoch_at_least() -> None:
    config = Config(epochs=4, first_order_share=0.1, multi_step_loss=True, msl_share=0.01)
    assert [step_config(config, epoch).second_order for epoch in range(3)] == [False, True, True]
    assert [step_config(config, epoch).loss_weights[0] for epoch in range(3)] == [0.2, 0.0, 0.0]


def test_a_share_is_rounded_to_whole_epochs() -> None:
    orders = [step_config(Config(epochs=7, first_order_share=0.4), epoch).second_order for epoch in range(7)]
    assert orders.count(False) == 3
    ramps = [step_config(Config(epochs=7, multi_step_loss=True, msl_share=0.4), epoch) for epoch in range(7)]
    assert sum(config.loss_weights != last_step_only(5) for config in ramps) == 3


def test_the_order_has_two_ends() -> None:
    assert all(step_config(Config(), epoch).second_order for epoch in range(20))
    assert not any(step_config(Config(first_order_share=1.0), epoch).second_order for epoch in range(20))
    assert not any(step_config(Config(second_order=False), epoch).second_order for epoch in range(20))


def test_training_normalises_by_the_batch() -> None:
    config = step_config(Config(n_steps=2, norm_eval="running"), 0)
    assert config == StepConfig((0.0, 1.0), second_order=True, track_query=False, norm="batch")


def test_training_normalises_by_the_recorded_statistics_where_it_is_asked() -> None:
    assert step_config(Config(n_steps=2, norm_train="running"), 0) == StepConfig((0.0, 1.0), norm="running")


@pytest.mark.parametrize(("eval_steps", "n_steps"), [(0, 5), (3, 3), (8, 8)])
def test_evaluation_takes_its_own_number_of_steps(eval_steps: int, n_steps: int) -> None:
    config = dataclasses.replace(CONFIG, eval_steps=eval_steps)
    assert eval_config(config, "batch").loss_weights == last_step_only(n_steps)


def test_evaluation_is_first_order_and_normalises_as_told() -> None:
    config = dataclasses.replace(CONFIG, n_steps=2)
    plain = StepConfig((0.0, 1.0), second_order=False, track_query=False, norm="batch")
    assert eval_config(config, "batch") == plain
    assert eval_config(config, "running", track_query=True) == dataclasses.replace(
        plain, track_query=True, norm="running"
    )
