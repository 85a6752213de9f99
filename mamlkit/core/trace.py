"""What happened inside an inner loop, as tensors.

Axis letters: ``N`` way, ``K`` inner steps, ``Q`` query images, ``C`` channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.networks import BatchStats

Stats = dict[str, BatchStats]


class InnerTrace(NamedTuple):
    """What happened inside one inner loop, detached; NaN where no query pass was made."""

    support_loss: Tensor  # [K] nats, before each update
    query_loss: Tensor  # [K] nats, after each update
    query_accuracy: Tensor  # [K] fraction in [0, 1], after each update
    query_logits: Tensor  # [Q, N] of the last query pass
    grad_norm: Tensor  # [K, n_adapted] l2 norm of each adapted tensor's support gradient
    support_stats: Stats  # {layer: BatchStats [K, C]}
    query_stats: Stats  # {layer: BatchStats [K, C]}


def stack_rows(rows: list[InnerTrace], dim: int = 0) -> InnerTrace:
    """Return the trace of K rows, one of them at least with a query pass.

    Args:
        rows: traces of single steps, without [K].
        dim: where the axis [K] goes; 1 if the rows have a leading [T].

    Pure: no argument is changed.
    """
    judged = [row.query_logits for row in rows if row.query_logits.numel()]
    none = torch.zeros_like(rows[0].support_loss)
    alike = [row._replace(query_logits=none) for row in rows]
    trace: InnerTrace = pytree.tree_map(lambda *steps: torch.stack(steps, dim), *alike)
    return trace._replace(query_logits=judged[-1])


def query_accuracy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the fraction of ``logits`` [..., Q, N] whose largest is at ``y`` [..., Q]; NaN for a regression."""
    if y.is_floating_point():  # a regression has no accuracy
        return torch.full_like(logits.detach().sum(), torch.nan)
    return (logits.detach().argmax(-1) == y).to(logits.dtype).mean(-1)
