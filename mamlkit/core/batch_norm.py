"""Batch norm that takes the inner step as an argument and returns its statistics instead of writing them.

Axis letters: ``B`` images in a batch, ``K`` inner steps, ``C, H, W`` channels, height, width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError

NORM_EPS = 1e-5
NORM_BASE = nn.modules.batchnorm._NormBase  # batch norm and instance norm


class BatchStats(NamedTuple):
    """Mean and unbiased variance of each channel, [C] (stacked over steps: [K, C])."""

    mean: Tensor
    var: Tensor


class PerStepBatchNorm2d(nn.Module):
    """Normalise each channel; weights, biases and recorded statistics may be separate for each inner step.

        y = weight[k] * (x - mean) / sqrt(var + 1e-5) + bias[k]

    ``forward`` returns the batch's statistics and never writes the recorded ones;
    ``mamlkit.core.outer_loop.fold_batch_stats`` updates these.

    Args:
        channels: C.
        n_steps: K.
        per_step_bn: weight and bias are [K, C] instead of [C].
        per_step_stats: running mean and variance are [K, C] instead of [C].

    Source: section 4 of the paper (per-step batch normalisation weights and biases, running statistics).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, n_steps: int, *, per_step_bn: bool, per_step_stats: bool) -> None:
        super().__init__()
        shape = (n_steps, channels) if per_step_bn else (channels,)
        stats_shape = (n_steps, channels) if per_step_stats else (channels,)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("running_mean", torch.zeros(stats_shape))
        self.register_buffer("running_var", torch.ones(stats_shape))

    def forward(self, x: Tensor, step: int, norm: str = "batch") -> tuple[Tensor, BatchStats]:
        """Normalise ``x`` [B, C, H, W] at inner step ``step``; return it and the batch's own statistics."""
        weight, bias = _row(self.weight, step), _row(self.bias, step)
        x = x.to(weight.dtype)  # statistics need full precision, also under autocast
        # native_batch_norm returns the statistics as well; a second pass over x would cost a tenth of an iteration.
        y, mean, inverse = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, NORM_EPS)
        n = x.numel() // x.shape[1]
        var = (inverse.detach() ** -2 - NORM_EPS).clamp(min=0) * (n / max(n - 1, 1))  # biased -> unbiased
        if norm == "running":
            running_mean, running_var = _row(self.running_mean, step), _row(self.running_var, step)
            y = F.batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=NORM_EPS)
        return y, BatchStats(mean.detach(), var)


def _row(table: Tensor, step: int) -> Tensor:
    return table[step] if table.dim() == 2 else table  # [K, C] -> [C]


NORM_LAYERS = (PerStepBatchNorm2d, NORM_BASE, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def check_tables(network: nn.Module, config: Config) -> None:
    """Raise unless the per-step tables of a network are those that a configuration asks for.

    Raises:
        InputError: no layer has the tables of ``per_step_bn`` or ``per_step_stats``, or a table lacks rows.
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, PerStepBatchNorm2d)}
    tables = {"per_step_bn": "weight", "per_step_stats": "running_mean"}
    for field, table in tables.items():
        if getattr(config, field) and not any(getattr(layer, table).dim() == 2 for layer in layers.values()):
            kind = type(network).__name__
            raise InputError(
                f"{field} = True has no meaning: the network {kind} has no PerStepBatchNorm2d with {field}"
            )
    n_steps = max(config.n_steps, config.eval_steps)
    for name, layer in layers.items():
        for table in tables.values():
            rows = getattr(layer, table)
            if rows.dim() == 2 and len(rows) < n_steps:
                raise InputError(
                    f"{name}.{table} has {len(rows)} rows, one for each inner step; at most {len(rows)} steps are "
                    f"allowed, and the configuration has {n_steps}"
                )
