"""Chunks of tasks, one after the other or side by side: the same bits, each thread with a network of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from mamlkit import Config, Episode, MetaLearner
from mamlkit.core import chunks
from mamlkit.core.chunks import in_turn, side_by_side, split
from mamlkit.core.outer_loop import MetaStep, meta_gradient
from mamlkit.core.problem import Problem
from mamlkit.core.schedules import step_config

CONFIG = Config(image_size=16, n_way=2, q_query=1, filters=3, n_steps=2, n_tasks=5, dtype="float64", device="cpu")


@pytest.fixture(params=[2, 3], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def batch() -> Episode:
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.rand(5, 2, 1, 16, 16, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([[0, 1]] * 5)
    return Episode(support, labels, query, labels)


def step(batch: Episode, spread: chunks.Spread, **how: bool) -> MetaStep:
    learner = MetaLearner.from_config(CONFIG, (1, 16, 16))
    settings = step_config(CONFIG, 0)
    return meta_gradient(learner.problem, learner.meta, learner.buffers, batch, settings, spread=spread, **how)


def test_the_chunks_of_a_batch_are_its_tasks_in_order(batch: Episode) -> None:
    parts = split(batch, 2)
    assert [len(part.support_x) for part in parts] == [2, 2, 1]
    assert all(torch.equal(torch.cat(x), y) for x, y in zip(zip(*parts), batch))


@pytest.mark.parametrize("low_memory", [False, True])
def test_side_by_side_gives_the_bits_of_one_thread(batch: Episode, low_memory: bool) -> None:
    found = step(batch, side_by_side, low_memory=low_memory)
    torch.set_num_threads(1)
    expected = step(batch, in_turn, low_memory=low_memory)
    for a, b in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected)):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_each_thread_computes_with_modules_of_its_own_whose_tensors_are_shared(batch: Episode, threads: int) -> None:
    problem = Problem(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)).eval())
    meet = threading.Barrier(threads)

    def work(own: Problem, chunk: Episode) -> tuple[int, int, int, str]:
        meet.wait(60)  # only threads that run at once meet
        tensors, shared = ([*x.network.parameters(), *x.network.buffers()] for x in (own, problem))
        assert all(a is b for a, b in zip(tensors, shared))
        return id(own.network), len(tensors), torch.get_num_threads(), threading.current_thread().name

    found = list(side_by_side(work, problem, split(batch, 1)[:threads]))
    modules, sizes, cores, names = zip(*found)
    assert len({*modules, id(problem.network)}) == threads + 1
    assert set(sizes) == {7}
    assert set(cores) == {1}
    assert len(set(names)) == threads
    assert torch.get_num_threads() == threads


def test_one_chunk_or_one_thread_stays_on_the_callers_thread(batch: Episode) -> None:
    def work(own: Problem, chunk: Episode) -> tuple[str, Problem]:
        return threading.current_thread().name, own

    problem, here = Problem(nn.Linear(1, 1)), threading.current_thread().name
    assert list(side_by_side(work, problem, [batch])) == [(here, problem)]
    torch.set_num_threads(1)
    assert list(side_by_side(work, problem, split(batch, 1))) == [(here, problem)] * 5


def test_threads_take_over_the_callers_gradient_mode_and_autocast(batch: Episode) -> None:
    def work(own: Problem, chunk: Episode) -> tuple[bool, bool]:
        return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")

    for gradients in (True, False):
        for autocast in (True, False):
            with torch.set_grad_enabled(gradients), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                assert set(side_by_side(work, Problem(nn.Linear(1, 1)), split(batch, 1))) == {(gradients, autocast)}


def test_an_error_in_one_thread_is_the_callers(batch: Episode) -> None:
    def work(own: Problem, chunk: Episode) -> None:
        raise ValueError("this chunk is bad")

    with pytest.raises(ValueError, match="this chunk is bad"):
        list(side_by_side(work, Problem(nn.Linear(1, 1)), split(batch, 1)))
    assert list(side_by_side(lambda own, chunk: 1, Problem(nn.Linear(1, 1)), split(batch, 1))) == [1] * 5
