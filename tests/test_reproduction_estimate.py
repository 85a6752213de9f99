"""The estimated duration of a grid: by counted arithmetic, and by a few iterations on a clock that the test moves."""

from __future__ import annotations

import dataclasses
import itertools
import time

import pytest
import torch

from mamlkit.core.config import Config
from mamlkit.core.schedules import step_config
from mamlkit.engines.work import iteration_flop
from mamlkit.study.reproduction import estimate
from mamlkit.study.reproduction.plan import Plan, make_plan

SHAPE = (1, 28, 28)
RUN = Config(epochs=4, iterations_per_epoch=10, val_episodes=20, test_episodes=30, first_order_share=0.5)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan("stability", "smoke", "glyphs", (0, 1), {})


def test_a_run_counts_its_first_order_and_second_order_epochs_and_its_evaluations() -> None:
    training = sum(10 * iteration_flop(RUN, step_config(RUN, epoch), SHAPE) for epoch in range(4))
    assert estimate.flop_of(RUN, SHAPE) > training
    without = dataclasses.replace(RUN, val_episodes=2, test_episodes=2)
    assert training < estimate.flop_of(without, SHAPE) < estimate.flop_of(RUN, SHAPE)


def test_the_duration_is_that_of_the_timed_iterations_times_the_arithmetic(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 2.0)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    threads = torch.get_num_threads()
    cells, kept = plan.cells, estimate.NOTEBOOK_SECONDS * len(plan.cells)
    alone = estimate.seconds(plan, cells, 1)
    assert estimate.seconds(plan, cells, 2) == pytest.approx(alone / 2)
    assert estimate.seconds(plan, cells[:2], 1) - kept / 2 == pytest.approx((alone - kept) / 2)
    assert alone > kept
    assert torch.get_num_threads() == threads
