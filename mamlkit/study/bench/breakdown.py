"""Where the time of an iteration goes, from torch's profiler."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

ITERATIONS = 3
LONGEST = 12

# The first pattern that a name fits; a fused kernel is named after the operations in it.
KINDS = {
    "fused elementwise": re.compile(r"cpp_fused"),
    "convolution": re.compile(r"conv"),
    "matrix products": re.compile(r"(mm|mv|dot|linear|matmul)(_out)?$"),
    "allocation": re.compile(r"empty|resize"),
}
REST = "everything else"  # other operations, the dispatch of all, and Python


class Breakdown(NamedTuple):
    """Fractions of an iteration's time, each without the time of what it calls.

    Attributes:
        shares: by kind; they sum to 1.
        longest: by the profiler's own names, longest first.
    """

    shares: dict[str, float]
    longest: dict[str, float]


def kind(event: str) -> str:
    """Return what a profiler's event counts as.

    >>> kind("graph_0_cpp_fused_convolution_mean_3"), kind("aoti_torch_cpu_convolution_backward"), kind("aten::bmm")
    ('fused elementwise', 'convolution', 'matrix products')
    >>> kind("aten::resize_"), kind("aten::stack")
    ('allocation', 'everything else')
    """
    return next((name for name, pattern in KINDS.items() if pattern.search(event)), REST)


def breakdown(iterate: Callable[[], None]) -> Breakdown:
    """Return where the time of an iteration goes on one thread: the profiler does not see threads of a pool.

    Args:
        iterate: does one; it is called once before the profiler looks on.

    Writes: the environment's KINETO_LOG_LEVEL, if it has none: the profiler writes to standard error otherwise.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        iterate()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(ITERATIONS):
                with record_function("iteration"):  # its own time is what no operation accounts for
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
