"""Query logits of evaluation from the support gradient alone: those of the plain inner loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from test_engines_adjoint import uncompiled
from test_outer_loop import Tasks

from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import run_tasks
from mamlkit.core.schedules import StepConfig
from mamlkit.engines.answers import query_logits

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
