"""Measure the cost of other programs: meta-iterations on a quiet machine, and beside one busy process on every core.

Beside the load, half of every core is left, so a fair share takes twice the time.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil

from mamlkit.core.config import Config
from mamlkit.core.recipes import configure
from mamlkit.study.bench.timing import WARM_UP
from mamlkit.study.bench.worker import Sample, worker
from mamlkit.study.bench.workloads import SIZES, WORKLOADS

MOST = 2.5  # upper bound of the ratio to the time on a quiet machine
MOST_COST = 0.03  # upper bound, fraction of the quiet time: cost of brief waiting, median over works and engines
ROUNDS = 3  # in each round, two new processes take turns on the quiet machine, and one runs beside the load
TORCHS_OWN = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}  # the defaults of GCC, and of LLVM and Intel


class Beside(NamedTuple):
    """One engine on one work.

    Attributes:
        work, engine: the names.
        quiet_ms: median of a meta-iteration without a load, milliseconds.
        torchs_own_ms: the same if threads wait as long as torch's OpenMP lets them by default.
        beside_ms: median beside one busy process on every core.
    """

    work: str
    engine: str
    quiet_ms: float
    torchs_own_ms: float
    beside_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers by name, including the two ratios."""
        return {**self._asdict(), "ratio": self.ratio, "cost": self.cost}

    @property
    def ratio(self) -> float:
        """The ratio of the time beside the load to the quiet time."""
        return self.beside_ms / self.quiet_ms

    @property
    def cost(self) -> float:
        """The cost of brief waiting on the quiet machine, as a fraction of its time; negative if it gains time."""
        return self.quiet_ms / self.torchs_own_ms - 1


def works() -> dict[str, Config]:
    """Return the timed works by name: the iteration of ``mamlkit tour`` and the first work of the speed table."""
    tour = configure("mamlpp", **{**SIZES, "filters": 32}, n_way=5, n_tasks=4)
    return {"tour": tour, "W1": WORKLOADS["W1"].config}


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep cores busy: start processes that compute endlessly, and end them."""
    with contextlib.ExitStack() as stack:
        for _ in range(processes):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        yield


def cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # not available on macOS
    return len(affinity()) if affinity else psutil.cpu_count() or 1


def busy_share(seconds: float = 2.0) -> float:
    """Return the present share of the processors' time in use, in [0, 1].

    Args:
        seconds: duration of the measurement.
    """
    return float(psutil.cpu_percent(seconds)) / 100


def measure(
    work: str, contenders: Sequence[tuple[str, Config]], samples: int, on_sample: Callable[[], None]
) -> list[Beside]:
    """Time engines on a quiet machine and beside a load, in turns.

    Args:
        work: name of the work.
        contenders: (engine, configuration) pairs, already compiled.
        samples: iterations of each engine in each state and round.
        on_sample: called after each iteration.

    Raises:
        InputError: see ``mamlkit.study.bench.worker.worker``.
    """
    found = []
    for engine, config in contenders:
        times: dict[str, list[float]] = {"quiet": [], "own": [], "beside": []}
        for _ in range(ROUNDS):
            with worker(engine, config) as brief, worker(engine, config, TORCHS_OWN) as own:
                for run in (brief, own) * WARM_UP:
                    run()
                pair = [("quiet", brief), ("own", own)]
                for _ in range(samples):
                    for state, run in pair:
                        times[state].append(_sample(run, on_sample))
                    pair.reverse()  # the second of two processes may find another state of the machine
                with busy(cores()):
                    times["beside"] += [_sample(brief, on_sample) for _ in range(samples)]
        found.append(Beside(work, engine, *(float(np.median(times[state])) for state in times)))
    return found


def _sample(run: Callable[[], Sample], on_sample: Callable[[], None]) -> float:
    ms = run().ms
    on_sample()
    return ms
