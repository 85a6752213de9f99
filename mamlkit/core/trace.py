"""The trace of an inner loop: losses, metrics, outputs, gradient norms and statistics.

Axis letters: ``N`` way, ``K`` inner steps, ``Q`` query images, ``C`` channels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.batch_norm import BatchStats

Stats = dict[str, BatchStats]


class InnerTrace(NamedTuple):
    """The trace of one inner loop, detached; NaN for steps without a query pass."""

    support_loss: Tensor  # [K] nats, before each update
    query_loss: Tensor  # [K] nats, after each update
    query_metric: Tensor  # [K] the problem's metric in [0, 1], by default the accuracy, after each update
    query_logits: Any  # [Q, N] of the last query pass, or the network's other outputs
    grad_norm: Tensor  # [K, n_adapted] l2 norm of each adapted tensor's support gradient
    support_stats: Stats  # {layer: BatchStats [K, C]}
    query_stats: Stats  # {layer: BatchStats [K, C]}


def stack_rows(rows: list[InnerTrace], dim: int = 0) -> InnerTrace:
    """Return the trace of K rows; at least one row has a query pass.

    Args:
        rows: traces of single steps, without [K].
        dim: position of the axis [K]; 1 if the rows have a leading [T].
    """
    scored = [row.query_logits for row in rows if pytree.tree_leaves(row.query_logits)[0].numel()]
    none = torch.zeros_like(rows[0].support_loss)
    alike = [row._replace(query_logits=none) for row in rows]
    trace: InnerTrace = pytree.tree_map(lambda *steps: torch.stack(steps, dim), *alike)
    return trace._replace(query_logits=scored[-1])
