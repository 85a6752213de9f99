"""Query logits of evaluation from the support gradient alone: those of the plain inner loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from test_outer_loop import Tasks
from tiny import AS_GOLDEN

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import run_tasks
from mamlkit.core.schedules import StepConfig
from mamlkit.engines import COMPILED, ENGINES, compiler
from mamlkit.engines.adjoint import Functions
from mamlkit.engines.answers import query_logits
from mamlkit.engines.captured import uncompiled
from mamlkit.engines.closed_form import Shape
from mamlkit.training.learner import MetaLearner

LAST = StepConfig((0.0, 0.0, 1.0), second_order=False)


def answers(tasks: Tasks, steps: Sequence[StepConfig], *, tasks_per_chunk: int) -> torch.Tensor:
    how: Any = {"make": uncompiled, "tasks_per_chunk": tasks_per_chunk}
    return query_logits(tasks.problem, tasks.meta, tasks.buffers, tasks.batch, steps, **how)


@pytest.mark.parametrize("adapt", ["all", "head", "body"])
@pytest.mark.parametrize(("per_step", "max_pool", "side"), [(True, True, 16), (False, True, 18), (True, False, 17)])
def test_logits_are_those_of_the_plain_inner_loop(per_step: bool, max_pool: bool, side: int, adapt: str) -> None:
    tasks = Tasks(per_step=per_step, max_pool=max_pool, side=side).adapting(adapt)
    configs = [dataclasses.replace(LAST, norm=norm) for norm in ("batch", "running")]
    both = answers(tasks, configs, tasks_per_chunk=1)
    for found, config in zip(both, configs):
        with torch.no_grad():
            expected = run_tasks(tasks.problem, tasks.meta, tasks.buffers, tasks.batch, config)[1].query_logits
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)
    assert not torch.allclose(*both)
    assert not both.requires_grad


def test_tasks_may_be_adapted_at_once_and_steps_may_be_fewer_than_rates() -> None:
    tasks = Tasks()
    config = StepConfig((0.0, 1.0), second_order=False)
    whole = len(tasks.batch.support_x)
    one, all_ = (answers(tasks, [config], tasks_per_chunk=n) for n in (1, whole))
    torch.testing.assert_close(one, all_, rtol=1e-10, atol=1e-11)
    with torch.no_grad():
        expected = run_tasks(tasks.problem, tasks.meta, tasks.buffers, tasks.batch, config)[1].query_logits
    torch.testing.assert_close(one[0], expected, rtol=1e-10, atol=1e-11)


def test_more_steps_than_rates_are_refused() -> None:
    tasks = Tasks()
    config = StepConfig((*(0.0,) * 9, 1.0), second_order=False)
    with pytest.raises(InputError, match="inner steps are more than the"):
        answers(tasks, [config], tasks_per_chunk=1)


@pytest.mark.parametrize(
    ("changes", "n_tasks", "through_code"),
    [
        ({}, 4, True),
        ({}, 3, False),  # the last task alone would need code of its own
        ({"q_query": 15}, 3, True),  # tasks that are large in training go one at a time, here too
        ({"autocast": True}, 4, False),
    ],
)
def test_an_evaluation_needs_no_code_but_that_of_training(
    changes: dict[str, Any], n_tasks: int, through_code: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(AS_GOLDEN, n_steps=2, **changes)
    loaded: list[Shape] = []

    def load(support: Shape, query: Shape) -> Functions:
        loaded.append(support)
        return uncompiled(support, query)

    def batch(n: int, per_class: int) -> Episode:
        x = torch.rand(n, 3 * per_class, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        y = torch.arange(3).repeat_interleave(per_class).expand(n, -1)
        return Episode(x[:, : 3 * config.k_shot], y[:, : 3 * config.k_shot] % 3, x, y)

    monkeypatch.setattr(compiler, "load", load)
    learner = MetaLearner.from_config(config, (1, 16, 16))
    given = learner.meta, learner.buffers, batch(n_tasks, 4), [dataclasses.replace(LAST, loss_weights=(0.0, 1.0))]
    found = COMPILED.make_evaluator(learner.problem, config)(*given)
    expected = ENGINES["eager"].make_evaluator(learner.problem, config)(*given)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    training = batch(config.n_tasks, config.q_query)
    parts = COMPILED.parts(learner.problem, config, training, COMPILED.tasks_per_chunk(config, training))
    assert {(name, shape) for shape in loaded for name in ("inner_step", "back_step")} <= {*parts}
    assert bool(loaded) == through_code
