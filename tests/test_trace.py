"""A trace: rows of single steps become one with the steps' axis."""

from __future__ import annotations

import torch

from mamlkit.core.networks import BatchStats
from mamlkit.core.trace import InnerTrace, stack_rows


def row(value: float, *, scored: bool, leading: tuple[int, ...] = ()) -> InnerTrace:
    number = torch.full(leading, value)
    stats = {"norm": BatchStats(torch.full((*leading, 3), value), torch.full((*leading, 3), -value))}
    logits = torch.full((*leading, 4, 2), value) if scored else torch.empty(0)
    return InnerTrace(number, number + 1, number + 2, logits, torch.full((*leading, 5), value), stats, stats)


def test_rows_are_stacked_and_the_last_logits_kept() -> None:
    trace = stack_rows([row(1.0, scored=True), row(2.0, scored=True), row(3.0, scored=False)])
    assert trace.support_loss.tolist() == [1.0, 2.0, 3.0]
    assert trace.query_metric.tolist() == [3.0, 4.0, 5.0]
    assert trace.grad_norm.shape == (3, 5)
    assert trace.support_stats["norm"].var[:, 0].tolist() == [-1.0, -2.0, -3.0]
    assert torch.equal(trace.query_logits, torch.full((4, 2), 2.0))


def test_the_axis_of_steps_stands_behind_that_of_tasks() -> None:
    trace = stack_rows([row(1.0, scored=False, leading=(6,)), row(2.0, scored=True, leading=(6,))], 1)
    assert trace.support_loss.shape == (6, 2)
    assert trace.grad_norm.shape == (6, 2, 5)
    assert trace.query_stats["norm"].mean.shape == (6, 2, 3)
    assert trace.query_logits.shape == (6, 4, 2)
