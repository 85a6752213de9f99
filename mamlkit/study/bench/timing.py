"""Time several engines in turns, so that all meet the same machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mamlkit.core.config import Config
from mamlkit.study.bench.worker import worker

WARM_UP = 2  # iterations before the first that counts


class Timing(NamedTuple):
    """Times of one engine.

    Attributes:
        engine: its name.
        ms: milliseconds of each iteration that counts.
        peak_mib: most resident memory of its process, all of it, MiB.
    """

    engine: str
    ms: tuple[float, ...]
    peak_mib: float

    @property
    def median(self) -> float:
        """Milliseconds."""
        return float(np.median(self.ms))

    @property
    def spread(self) -> float:
        """Interquartile range, milliseconds."""
        low, high = np.percentile(self.ms, [25, 75])
        return float(high - low)


def time_in_turns(
    contenders: Sequence[tuple[str, Config]], samples: int, on_sample: Callable[[], None] | None = None
) -> list[Timing]:
    """Return the timings of engines that take turns, an iteration each, every one in a fresh process.

    Args:
        contenders: (engine, configuration); compiled already.
        samples: iterations that count, of each.
        on_sample: called after each that counts.

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
