"""Convert traces and histories to tidy tables: lists of rows, each a dict with the same keys.

Axis letters: ``T`` tasks, ``K`` inner steps, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from mamlkit.core.chunks import split
from mamlkit.core.episodes import Episode
from mamlkit.core.methods import check_inner_loop, check_rate_table
from mamlkit.core.outer_loop import run_tasks
from mamlkit.core.schedules import eval_config
from mamlkit.core.trace import InnerTrace
from mamlkit.training.history import EpochRecord
from mamlkit.training.learner import MetaLearner

Rows = list[dict[str, Any]]


def trace_batch(learner: MetaLearner, batch: Episode, *, norm: str = "batch") -> InnerTrace:
    """Return the trace of a learner's inner loops at evaluation, with a query pass after every step.

    Args:
        learner: a learner; it stays unchanged.
        batch: a meta-batch, all four tensors with a leading [T].
        norm: statistics of the query passes, ``"batch"`` or ``"running"``.

    Returns:
        See ``InnerTrace``, with a leading [T].

    Raises:
        InputError: the learner's method has no inner loop.
    """
    check_inner_loop(learner.config, "a trace of inner steps")
    settings, batch = eval_config(learner.config, norm, track_query=True), learner.to_device(batch)
    traces = []
    with torch.no_grad():
        for one in split(batch, 1):  # one after the other: several do not fit into a core's cache
            _, trace = run_tasks(learner.problem.at_evaluation, learner.meta, learner.buffers, one, settings)
            traces.append(trace)
    return pytree.tree_map(lambda *tasks: torch.cat(tasks), *traces)  # type: ignore[no-any-return]  # -> [T, ...]


def bn_drift(trace: InnerTrace) -> Rows:
    """Return the drift of each layer's batch statistics over the inner steps.

        shift = mean over channels of |mean_k - mean_0| / sqrt(var_0),    spread = mean of sqrt(var_k / var_0)

    where step 0 is the support pass before any update.

    Args:
        trace: the trace of a meta-batch, with a leading [T].

    Returns:
        One row for each layer, step and pass: ``layer``, ``step`` (from 0), ``pass`` (``"support"`` or ``"query"``),
        ``shift`` (standard deviations) and ``spread`` (ratio), each a mean over tasks.
    """
    rows: Rows = []
    for layer, support in trace.support_stats.items():
        mean_0, var_0 = support.mean[:, :1], support.var[:, :1].clamp(min=1e-12)  # [T, 1, C]
        for name, stats in (("support", support), ("query", trace.query_stats[layer])):
            shift = ((stats.mean - mean_0).abs() / var_0.sqrt()).mean((0, 2))  # [T, K, C] -> [K]
            spread = (stats.var / var_0).sqrt().mean((0, 2))  # [T, K, C] -> [K]
            rows += [
                {"layer": layer, "step": k, "pass": name, "shift": float(shift[k]), "spread": float(spread[k])}
                for k in range(len(shift))
            ]
    return rows


def inner_rates(learner: MetaLearner) -> Rows:
    """Return the inner learning rates: ``tensor``, ``step`` (from 0), ``rate``.

    Raises:
        InputError: the learner has no inner loop, or no table of rates.
    """
    check_inner_loop(learner.config, "a table of inner rates")
    check_rate_table(learner.config)
    table = learner.inner_lrs.tolist()  # [n_adapted, K]
    return [
        {"tensor": name, "step": k, "rate": rate}
        for name, row in zip(learner.rows, table)
        for k, rate in enumerate(row)
    ]


def training(history: Sequence[EpochRecord]) -> Rows:
    """Return one row for each meta-iteration: ``iteration``, ``loss``, ``accuracy``, ``grad_norm``, ``finite``."""
    keys = ("iteration", "loss", "accuracy", "grad_norm", "finite")
    return [{key: getattr(i, key) for key in keys} for record in history for i in record.iterations]


def inner_grad_norms(history: Sequence[EpochRecord]) -> Rows:
    """Return the support gradient's norm, mean over tasks: ``iteration``, ``step`` (from 0), ``norm``."""
    return [
        {"iteration": iteration.iteration, "step": k, "norm": norm}
        for record in history
        for iteration in record.iterations
        for k, norm in enumerate(iteration.inner_grad_norms)
    ]


def validation(history: Sequence[EpochRecord]) -> Rows:
    """Return one row for each epoch: ``epoch``, ``iteration``, ``accuracy``, ``ci95``, ``loss``."""
    return [
        {
            "epoch": record.epoch,
            "iteration": record.iterations[-1].iteration,
            "accuracy": record.validation.accuracy,
            "ci95": record.validation.ci95,
            "loss": record.validation.loss,
        }
        for record in history
    ]
