"""Two ways to compute with chunks of tasks: one after the other, or side by side, a thread for each chunk.

Side by side each thread has its own core and waits for no other before its chunk is done. Where OpenMP shares out every
operation among threads instead, each operation waits for the slowest thread; beside other programs that is for ever.
The results come in the order of the chunks, so that their sum has the same bits on any number of threads.
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
    """A way to compute with chunks: ``in_turn`` or ``side_by_side``."""

    def __call__(self, work: Work[Result], problem: Problem, chunks: Sequence[Episode]) -> Iterator[Result]:
        """Yield ``work(problem, chunk)`` of each chunk in their order."""


def split(batch: Episode, tasks_per_chunk: int) -> list[Episode]:
    """Return the chunks of a meta-batch, each with a leading [tasks_per_chunk]; the last may be smaller."""
    starts = range(0, count(batch), tasks_per_chunk)
    return [pytree.tree_map(lambda x, i=first: x[i : i + tasks_per_chunk], batch) for first in starts]


def in_turn(work: Work[Result], problem: Problem, chunks: Sequence[Episode]) -> Iterator[Result]:
    """Yield ``work(problem, chunk)`` of each chunk, computed on this thread when it is asked for."""
    return (work(problem, chunk) for chunk in chunks)


def side_by_side(work: Work[Result], problem: Problem, chunks: Sequence[Episode]) -> Iterator[Result]:
    """Yield ``work(problem, chunk)`` of each chunk, computed by as many threads as torch has on this one.

    ``torch.func.functional_call`` puts its tensors into the module itself while it runs, so each thread has a copy of
    the network's modules; their tensors are shared. With one thread or one chunk this is ``in_turn``.

    Args:
        work: is given to several threads at once, with the caller's gradient mode and autocast. The network and the
            loss must not draw random numbers: threads would draw them in no fixed order.
        problem: whose network the threads copy.
        chunks: of one meta-batch, on the CPU.
    """
    cores = torch.get_num_threads()
    workers = min(cores, len(chunks))
    if workers < 2:
        yield from in_turn(work, problem, chunks)
        return
    problems: queue.SimpleQueue[Problem] = queue.SimpleQueue()
    for _ in range(workers):
        problems.put(problem.with_network(own_modules(problem.network)))
    surroundings = _surroundings()

    def compute(chunk: Episode) -> Result:
        own = problems.get()
        try:
            with surroundings():
                return work(own, chunk)
        finally:
            problems.put(own)

    pool = _pool(workers, cores // workers)
    torch.set_num_threads(cores)  # the pool's threads leave theirs to threads that other code starts
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
    torch.get_num_threads()  # a thread's first look takes over the number set last, by whatever thread: look now


def _surroundings() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return a context that gives another thread the gradient mode and autocast of this one."""
    gradients = torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    @contextlib.contextmanager
    def surroundings() -> Iterator[None]:
        with torch.set_grad_enabled(gradients), torch.autocast("cpu", dtype, enabled=autocast):
            yield

    return surroundings
