"""Time several engines in turns, so that all run under the same conditions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mamlkit.core.config import Config
from mamlkit.study.bench.worker import worker

WARM_UP = 2  # iterations before the first counted iteration


class Timing(NamedTuple):
    """The times of one engine.

    Attributes:
        engine: name of the engine.
        ms: milliseconds of each counted iteration.
        peak_mib: peak resident memory of its whole process, MiB.
    """

    engine: str
    ms: tuple[float, ...]
    peak_mib: float

    @property
    def median(self) -> float:
        """Milliseconds."""
        return float(np.median(self.ms))

    @property
    def iqr(self) -> float:
        """Interquartile range, milliseconds."""
        low, high = np.percentile(self.ms, [25, 75])
        return float(high - low)


def time_in_turns(
    contenders: Sequence[tuple[str, Config]], samples: int, on_sample: Callable[[], None] | None = None
) -> list[Timing]:
    """Time engines that take turns, one iteration each, every engine in a fresh process.

    Args:
        contenders: (engine, configuration) pairs, already compiled.
        samples: number of counted iterations of each engine.
        on_sample: called after each counted iteration.

    Raises:
        InputError: see ``mamlkit.study.bench.worker.worker``.
    """
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(worker(engine, config)) for engine, config in contenders]
        rounds = []
        for number in range(WARM_UP + samples):
            taken = []
            for run in runs:
                taken.append(run())
                if on_sample is not None and number >= WARM_UP:
                    on_sample()
            rounds.append(taken)
    return [
        Timing(engine, tuple(sample.ms for sample in found[WARM_UP:]), found[-1].peak_mib)
        for (engine, _), found in zip(contenders, zip(*rounds))
    ]
