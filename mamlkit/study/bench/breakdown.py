"""Break down the time of an iteration with torch's profiler."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

ITERATIONS = 3
LONGEST = 12

# The first matching pattern counts; the name of a fused kernel lists its operations.
KINDS = {
    "fused elementwise": re.compile(r"cpp_fused"),
    "convolution": re.compile(r"conv"),
    "matrix products": re.compile(r"(mm|mv|dot|linear|matmul)(_out)?$"),
    "allocation": re.compile(r"empty|resize"),
}
REST = "everything else"  # other operations, the dispatch of all, and Python


class Breakdown(NamedTuple):
    """The parts of an iteration's time as fractions; the time of an operation excludes the operations that it calls.

    Attributes:
        shares: fractions by kind; they sum to 1.
        longest: fractions by the profiler's own names, longest first.
    """

    shares: dict[str, float]
    longest: dict[str, float]


def kind(event: str) -> str:
    """Return the kind of a profiler event.

    >>> kind("graph_0_cpp_fused_convolution_mean_3"), kind("aoti_torch_cpu_convolution_backward"), kind("aten::bmm")
    ('fused elementwise', 'convolution', 'matrix products')
    >>> kind("aten::resize_"), kind("aten::stack")
    ('allocation', 'everything else')
    """
    return next((name for name, pattern in KINDS.items() if pattern.search(event)), REST)


def breakdown(iterate: Callable[[], None]) -> Breakdown:
    """Profile an iteration on one thread; the profiler does not see the threads of a pool.

    Args:
        iterate: runs one iteration; it is called once before profiling.

    Writes: the environment variable KINETO_LOG_LEVEL, if it is not set: otherwise the profiler writes to standard
        error.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        iterate()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(ITERATIONS):
                with record_function("iteration"):  # its own time is the time outside all operations
                    iterate()
    finally:
        torch.set_num_threads(threads)
    spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(spent.values())
    shares = dict.fromkeys([*KINDS, REST], 0.0)
    for name, microseconds in spent.items():
        shares[kind(name)] += microseconds / total
    longest = sorted(spent, key=spent.__getitem__, reverse=True)[:LONGEST]
    return Breakdown(shares, {name: spent[name] / total for name in longest})
