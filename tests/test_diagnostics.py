"""Tidy tables: right numbers, in rows of the same keys."""

from __future__ import annotations

import math

import pytest
import torch

from mamlkit.core.config import Config
from mamlkit.datasets import ImageStore
from mamlkit.training import diagnostics
from mamlkit.training.evaluation import Evaluation
from mamlkit.training.history import EpochRecord, Iteration
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import make_sampler

CONFIG = Config(n_way=2, q_query=2, eval_query=2, filters=3, n_steps=3, image_size=28, dtype="float64", inner_lr=0.5)


@pytest.fixture(scope="module")
def learner() -> MetaLearner:
    return MetaLearner.from_config(CONFIG, (1, 28, 28))


@pytest.fixture
def history() -> list[EpochRecord]:
    def iteration(number: int, *, finite: bool = True) -> Iteration:
        return Iteration(number, 1.0 / number, 0.5, 2.0 * number, (3.0, 1.0 / number), True, 1e-3, finite)

    validation = Evaluation(0.75, 0.05, 0.6, 10, "batch")
    return [
        EpochRecord(1, (iteration(1), iteration(2, finite=False)), validation, 1.0),
        EpochRecord(2, (iteration(3), iteration(4)), validation, 1.0),
    ]


def test_drift_is_the_shift_of_the_means_in_standard_deviations_of_step_0(
    learner: MetaLearner, glyphs: ImageStore
) -> None:
    trace = diagnostics.trace_batch(learner, make_sampler(glyphs, CONFIG, "test").batch(0, 4))
    rows = diagnostics.bn_drift(trace)
    assert len(rows) == 4 * 3 * 2
    for row in rows:
        first = trace.support_stats[row["layer"]]
        stats = (trace.support_stats if row["pass"] == "support" else trace.query_stats)[row["layer"]]
        shift, spread = [], []
        for task in range(4):
            deviation = first.var[task, 0].sqrt()
            shift.append(((stats.mean[task, row["step"]] - first.mean[task, 0]).abs() / deviation).mean())
            spread.append((stats.var[task, row["step"]].sqrt() / deviation).mean())
        assert row["shift"] == pytest.approx(float(torch.stack(shift).mean()), abs=1e-12)
        assert row["spread"] == pytest.approx(float(torch.stack(spread).mean()), abs=1e-12)


def test_drift_begins_at_nothing_and_moves(learner: MetaLearner, glyphs: ImageStore) -> None:
    rows = diagnostics.bn_drift(diagnostics.trace_batch(learner, make_sampler(glyphs, CONFIG, "test").batch(0, 2)))
    start = [row for row in rows if row["pass"] == "support" and row["step"] == 0]
    assert all(row["shift"] == 0 and row["spread"] == pytest.approx(1) for row in start)
    assert max(row["shift"] for row in rows) > 0.05


def test_a_trace_for_a_picture_has_a_query_pass_after_every_step(learner: MetaLearner, glyphs: ImageStore) -> None:
    before = {name: value.clone() for name, value in learner.state().items()}
    trace = diagnostics.trace_batch(learner, make_sampler(glyphs, CONFIG, "test").batch(0, 2))
    assert trace.query_loss.shape == (2, 3)
    assert not trace.query_loss.isnan().any()
    assert all(torch.equal(value, before[name]) for name, value in learner.state().items())


def test_inner_rates_are_the_table_row_by_row(learner: MetaLearner) -> None:
    other = learner.reconfigure(CONFIG)
    other.inner_lrs[2, 1] = -0.25
    rows = diagnostics.inner_rates(other)
    assert len(rows) == len(other.rows) * 3
    assert [row for row in rows if row["rate"] == -0.25] == [{"tensor": other.rows[2], "step": 1, "rate": -0.25}]


def test_the_history_becomes_one_row_an_iteration_and_one_a_step(history: list[EpochRecord]) -> None:
    training = diagnostics.training(history)
    assert [row["iteration"] for row in training] == [1, 2, 3, 4]
    assert [row["finite"] for row in training] == [True, False, True, True]
    assert training[3] == {"iteration": 4, "loss": 0.25, "accuracy": 0.5, "grad_norm": 8.0, "finite": True}
    norms = diagnostics.inner_grad_norms(history)
    assert [(row["iteration"], row["step"]) for row in norms[:3]] == [(1, 0), (1, 1), (2, 0)]
    assert math.isclose(norms[-1]["norm"], 0.25)


def test_validation_has_one_row_an_epoch_at_its_last_iteration(history: list[EpochRecord]) -> None:
    assert diagnostics.validation(history) == [
        {"epoch": 1, "iteration": 2, "accuracy": 0.75, "ci95": 0.05, "loss": 0.6},
        {"epoch": 2, "iteration": 4, "accuracy": 0.75, "ci95": 0.05, "loss": 0.6},
    ]
