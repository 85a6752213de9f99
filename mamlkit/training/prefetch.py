"""Draw meta-batches from a sampler, the next one while the caller computes with the current one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError

Key = TypeVar("Key")
Drawn = TypeVar("Drawn")


class Sampler(Protocol):
    """A source of episodes, see ``mamlkit.core.episodes.EpisodeSampler``."""

    def batch(self, first_index: int, n_tasks: int) -> Episode:
        """Return episodes ``first_index .. first_index + n_tasks - 1`` with a leading [T]."""


def draw(sampler: Sampler, first_index: int, n_tasks: int) -> Episode:
    """Return episodes of a sampler, checked.

    Raises:
        InputError: the sampler returns another type, a leaf that is not a tensor, or another number of tasks.
    """
    batch: Any = sampler.batch(first_index, n_tasks)
    kind = type(sampler).__name__
    if not isinstance(batch, Episode):
        raise InputError(f"the sampler {kind} returns a {type(batch).__name__}; an Episode is needed")
    for field, tree in batch._asdict().items():
        for leaf in pytree.tree_leaves(tree):
            if not isinstance(leaf, Tensor):
                raise InputError(f"the sampler {kind} returns {field} with a {type(leaf).__name__}; tensors are needed")
            if leaf.shape[:1] != (n_tasks,):
                shape = f"of shape {list(leaf.shape)} for {n_tasks} tasks; [{n_tasks}, ...] is needed"
                raise InputError(f"the sampler {kind} returns {field} {shape}")
    return batch


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
