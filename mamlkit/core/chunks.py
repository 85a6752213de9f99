"""Two ways to compute chunks of tasks: one after the other, or side by side, with one thread for each chunk.

Side by side, each thread has its own core and waits for no other thread before its chunk is done. OpenMP instead splits
every operation among the threads, so each operation waits for the slowest thread; beside other programs this takes very
long. The results keep the order of the chunks, so that their sum has the same bits on any number of threads.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import torch
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode, count
from mamlkit.core.forward import own_modules
from mamlkit.core.problem import Problem

Result = TypeVar("Result")
Work = Callable[[Problem, Episode], Result]  # a computation with a problem and a chunk


class Spread(Protocol):
    """A way to compute chunks: ``in_turn`` or ``side_by_side``."""

    def __call__(
        self, work: Work[Result], problem: Problem, chunks: Sequence[Episode], *, calls_network: bool = True
    ) -> Iterator[Result]:
        """Yield ``work(problem, chunk)`` for each chunk, in order."""


def split(batch: Episode, tasks_per_chunk: int) -> list[Episode]:
    """Return the chunks of a meta-batch, each with a leading [tasks_per_chunk]; the last may be smaller."""
    starts = range(0, count(batch), tasks_per_chunk)
    return [pytree.tree_map(lambda x, i=first: x[i : i + tasks_per_chunk], batch) for first in starts]


def in_turn(
    work: Work[Result], problem: Problem, chunks: Sequence[Episode], *, calls_network: bool = True
) -> Iterator[Result]:
    """Yield ``work(problem, chunk)`` for each chunk, computed lazily on this thread."""
    del calls_network  # one thread needs no copy
    return (work(problem, chunk) for chunk in chunks)


def side_by_side(
    work: Work[Result], problem: Problem, chunks: Sequence[Episode], *, calls_network: bool = True
) -> Iterator[Result]:
    """Yield ``work(problem, chunk)`` for each chunk, computed by at most ``torch.get_num_threads()`` threads.

    ``torch.func.functional_call`` puts its tensors into the module while it runs, so each thread has a copy of the
    network's modules; the copies share their tensors. With one thread or one chunk this is ``in_turn``.

    Args:
        work: called on several threads at once, with the caller's gradient mode and autocast. The network and the loss
            must not draw random numbers: threads would draw them in no fixed order.
        problem: each thread copies its network.
        chunks: the chunks of one meta-batch, on the CPU.
        calls_network: False if ``work`` computes without the network; the threads then need no copies.
    """
    cores = torch.get_num_threads()
    workers = min(cores, len(chunks))
    if workers < 2:
        yield from in_turn(work, problem, chunks)
        return
    problems: queue.SimpleQueue[Problem] = queue.SimpleQueue()
    for _ in range(workers):
        problems.put(problem.with_network(own_modules(problem.network)) if calls_network else problem)
    surroundings = _surroundings()

    def compute(chunk: Episode) -> Result:
        own = problems.get()
        try:
            with surroundings():
                return work(own, chunk)
        finally:
            problems.put(own)

    pool = _pool(workers, cores // workers)
    torch.set_num_threads(cores)  # else later threads of other code would inherit the pool's number
    yield from pool.map(compute, chunks)


@functools.cache
def _pool(workers: int, cores_each: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(workers, "chunks", initializer=_take_cores, initargs=(cores_each,))
    ready = threading.Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(ready.wait)
    ready.wait()
    return pool


def _take_cores(n: int) -> None:
    torch.set_num_threads(n)
    torch.get_num_threads()  # the first call on a thread returns the number set last by any thread: call now


def _surroundings() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return a context that gives another thread the gradient mode and autocast of this thread."""
    gradients = torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    @contextlib.contextmanager
    def surroundings() -> Iterator[None]:
        with torch.set_grad_enabled(gradients), torch.autocast("cpu", dtype, enabled=autocast):
            yield

    return surroundings
