"""The meta-gradient without a graph: equal in every field to the one with it, and memory's two ways equal too."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from test_outer_loop import CONFIGS, MSL, Tasks
from torch.utils import _pytree as pytree

from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import MetaStep, meta_gradient
from mamlkit.core.schedules import StepConfig
from mamlkit.engines import adjoint
from mamlkit.engines.adjoint import Functions
from mamlkit.engines.captured import uncompiled
from mamlkit.engines.closed_form import Shape


def closed(tasks: Tasks, config: StepConfig, *, make: Any = uncompiled, **settings: Any) -> MetaStep:
    return adjoint.meta_gradient(tasks.problem, tasks.meta, tasks.buffers, tasks.batch, config, make=make, **settings)


def graphed(tasks: Tasks, config: StepConfig) -> MetaStep:
    return meta_gradient(tasks.problem, tasks.meta, tasks.buffers, tasks.batch, config)


def assert_equal_steps(found: MetaStep, expected: MetaStep) -> None:
    ours, structure = pytree.tree_flatten(found)
    theirs, same = pytree.tree_flatten(expected)
    assert structure == same
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11, equal_nan=True)


@pytest.mark.parametrize("adapt", ["all", "head", "body"])
@pytest.mark.parametrize(("per_step", "max_pool", "side"), [(True, True, 16), (False, True, 18), (True, False, 17)])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_gradient_loss_trace_and_buffers_are_those_of_the_graph(
    config: StepConfig, per_step: bool, max_pool: bool, side: int, adapt: str
) -> None:
    tasks = Tasks(per_step=per_step, max_pool=max_pool, side=side).adapting(adapt)
    assert_equal_steps(closed(tasks, config), graphed(tasks, config))


@pytest.mark.parametrize("settings", [{"tasks_per_chunk": 2}, {"tasks_per_chunk": 3, "keep": False}, {"keep": False}])
def test_neither_chunks_nor_recomputing_change_anything(settings: dict[str, Any]) -> None:
    tasks = Tasks()
    assert_equal_steps(closed(tasks, MSL, **settings), graphed(tasks, MSL))


def test_fewer_steps_than_rates_leave_the_later_rates_and_rows_alone() -> None:
    tasks, config = Tasks(), StepConfig((0.0, 1.0), track_query=True)
    found = closed(tasks, config)
    assert_equal_steps(found, graphed(tasks, config))
    assert not found.gradient.inner_lrs[:, 2].any()
    assert found.gradient.inner_lrs[::2, :2].all()


def test_arguments_stay_as_they_are() -> None:
    tasks = Tasks()
    before = pytree.tree_map(torch.clone, (tuple(tasks.meta), tasks.buffers, tuple(tasks.batch)))
    closed(tasks, MSL)
    after = (tuple(tasks.meta), tasks.buffers, tuple(tasks.batch))
    assert all(torch.equal(a, b) for a, b in zip(pytree.tree_leaves(before), pytree.tree_leaves(after)))


def test_recomputing_keeps_nothing_and_keeping_recomputes_nothing() -> None:
    calls: list[str] = []

    def counting(support: Shape, query: Shape) -> Functions:
        def count(name: str, function: Any, *arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return function(*arguments, **named)

        functions = uncompiled(support, query)
        return Functions(*(functools.partial(count, name, getattr(functions, name)) for name in Functions._fields))

    for keep, passes in ((True, 3), (False, 6)):  # K = 3 steps, a query pass after each
        calls.clear()
        closed(Tasks(), MSL, make=counting, keep=keep, tasks_per_chunk=3)
        assert {name: calls.count(name) for name in set(calls)} == {"support": passes, "query": 3, "back": 3}


def test_bad_settings_are_refused_as_everywhere() -> None:
    with pytest.raises(InputError, match=r"loss_weights = \(0.0, 0.0\) are all 0; at least one must not be"):
        closed(Tasks(), StepConfig((0.0, 0.0)))
    with pytest.raises(InputError, match="4 inner steps are more than the 3 of the per-step tables; use 1 to 3"):
        closed(Tasks(), StepConfig((0.0, 0.0, 0.0, 1.0)))
