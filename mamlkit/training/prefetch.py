"""Draw the next meta-batch while the caller computes with the present one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Drawn = TypeVar("Drawn")


@contextlib.contextmanager
def prefetch(draw: Callable[[Key], Drawn], keys: Iterable[Key]) -> Iterator[Iterator[Drawn]]:
    """Give ``draw(key)`` for each key in order, drawn on another thread while the caller uses the one before.

        with prefetch(draw, range(3)) as results:
            for result in results:
                ...

    Args:
        draw: runs on one other thread, one call at a time; what it raises is raised when its result is due.
        keys: what to draw; never further ahead than the one after the result that the caller uses.

    Returns:
        A context; however it is left, its thread has ended then.

    Pure: one result is kept, and no more.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        yield _one_ahead(pool, draw, keys)


def _one_ahead(pool: Executor, draw: Callable[[Key], Drawn], keys: Iterable[Key]) -> Iterator[Drawn]:
    futures: Iterator[Future[Drawn]] = (pool.submit(draw, key) for key in keys)  # each begins when it is asked for
    following = next(futures, None)
    while following is not None:
        drawn = following.result()
        following = next(futures, None)
        yield drawn
