"""The data path never shows: drawing a meta-batch costs next to nothing beside computing with it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mamlkit import ImageStore, MetaLearner, configure
from mamlkit.trainer import make_sampler

SHARE = 0.03  # of a meta-iteration
FILTERS = 16  # by vmap on one thread about as fast as 64 filters by the compiled engine on two


class Listening(TorchDispatchMode):
    """Write down what torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.heard.add(str(func))
        return func(*args, **(kwargs or {}))


def median_seconds(work: Callable[[int], object], repeats: int) -> float:
    seconds = []
    for number in range(repeats):
        begin = time.perf_counter()
        work(number)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute on one thread: on a busy machine several wait for each other, and an iteration takes ten times longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[5, 20], ids=["5-way", "20-way"])
def iteration(request: pytest.FixtureRequest, glyphs: ImageStore, one_thread: None) -> tuple[int, float]:
    """Return a way, and the seconds of a second-order meta-iteration of eight tasks of that way."""
    config = configure("mamlpp", n_way=request.param, n_tasks=8, filters=FILTERS, engine="vmap")
    learner = MetaLearner.from_config(config, (1, 28, 28))
    batch = make_sampler(glyphs, config, "train", training=True).batch(0, 8)
    last = config.epochs - 1
    return request.param, median_seconds(lambda _: learner.meta_step(batch, last), 3)


@pytest.mark.parametrize("rotation", ["none", "episodes", "classes"])
def test_drawing_eight_tasks_takes_a_small_share_of_a_meta_iteration(
    glyphs: ImageStore, rotation: str, iteration: tuple[int, float]
) -> None:
    n_way, seconds = iteration
    sampler = make_sampler(glyphs, configure("mamlpp", n_way=n_way, rotation=rotation), "train", training=True)
    drawing = median_seconds(lambda number: sampler.batch(8 * number, 8), 15)
    assert drawing < SHARE * seconds, f"{1e3 * drawing:.2f} ms of {1e3 * seconds:.0f} ms"


def test_drawing_computes_nothing_by_torch(glyphs: ImageStore) -> None:
    sampler = make_sampler(glyphs, configure("mamlpp", rotation="episodes"), "train", training=True)
    with Listening() as torch_said:
        sampler.batch(0, 8)
    assert torch_said.heard <= {"aten.lift_fresh.default"}  # what torch.from_numpy says
