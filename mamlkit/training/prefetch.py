"""Draw the next meta-batch while the caller computes with the current one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Drawn = TypeVar("Drawn")


@contextlib.contextmanager
def prefetch(draw: Callable[[Key], Drawn], keys: Iterable[Key]) -> Iterator[Iterator[Drawn]]:
    """Yield ``draw(key)`` for each key in order, drawn on another thread while the caller uses the previous result.

        with prefetch(draw, range(3)) as results:
            for result in results:
                ...

    Args:
        draw: runs on one other thread, one call at a time; its exception is raised when its result is due.
        keys: arguments of ``draw``; at most one result is drawn ahead.

    Returns:
        A context; its thread has ended when the context is left, also after an exception.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        yield _one_ahead(pool, draw, keys)


def _one_ahead(pool: Executor, draw: Callable[[Key], Drawn], keys: Iterable[Key]) -> Iterator[Drawn]:
    futures: Iterator[Future[Drawn]] = (pool.submit(draw, key) for key in keys)  # submitted lazily
    following = next(futures, None)
    while following is not None:
        drawn = following.result()
        following = next(futures, None)
        yield drawn
