"""The records of a measurement: one for each work and engine, and the conditions of the measurement."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mamlkit.core.schedules import step_config
from mamlkit.core.system.versions import versions
from mamlkit.engines.work import iteration_flop
from mamlkit.study.bench.timing import Timing
from mamlkit.study.bench.workloads import EPOCH, Work


class Record(NamedTuple):
    """One engine on one work.

    Attributes:
        work, engine: the names.
        ms_median: median time of a meta-iteration, milliseconds.
        ms_spread: interquartile range of the times, milliseconds.
        speedup_over_naive: the textbook loop's median divided by this median.
        gflops: the work's arithmetic divided by the median, GFLOP/s; operations that an engine saves or repeats do not
            change it.
        peak_share: ``gflops`` as a fraction of the speed of convolutions alone.
        peak_mib: peak resident memory of the engine's process, including Python and torch, MiB.
    """

    work: str
    engine: str
    ms_median: float
    ms_spread: float
    speedup_over_naive: float
    gflops: float
    peak_share: float
    peak_mib: float


def flop(work: Work) -> float:
    """Return the floating-point operations of one iteration of a work."""
    config = work.config
    return iteration_flop(config, step_config(config, EPOCH), (1, config.image_size, config.image_size))


def records(work: Work, timings: Sequence[Timing], peak: float) -> list[Record]:
    """Return the records of a work.

    Args:
        work: the work.
        timings: the timings of its engines; ``naive`` is among them.
        peak: speed of convolutions alone, GFLOP/s.
    """
    [naive] = [timing.median for timing in timings if timing.engine == "naive"]
    found = []
    for timing in timings:
        gflops = flop(work) / timing.median / 1e6
        ratios = naive / timing.median, gflops, gflops / peak
        found.append(Record(work.name, timing.engine, timing.median, timing.iqr, *ratios, timing.peak_mib))
    return found


def about(configs: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """Return the conditions of a measurement: configurations by name, samples, versions, threads and processor."""
    return {
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "samples": samples,
        "configs": dict(configs),
    }


def processor() -> str:
    """Return the processor's name from the operating system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
