"""Networks of the few-shot literature that know the inner step: ``network(x, step, norm) -> (logits, statistics)``.

Axis letters: ``B`` images in a batch, ``K`` inner steps, ``C, H, W`` channels, height, width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.system.imports import load_by_name

NORM_EPS = 1e-5
LEAK = 0.01


class BatchStats(NamedTuple):
    """Mean and unbiased variance of each channel, [C] (stacked over steps: [K, C])."""

    mean: Tensor
    var: Tensor


class PerStepBatchNorm2d(nn.Module):
    """Normalise each channel, with weights, biases and recorded statistics that may be one set per inner step.

        y = weight[k] * (x - mean) / sqrt(var + 1e-5) + bias[k]

    The recorded statistics are never written here: they come out of ``forward`` and are folded outside
    (``mamlkit.core.outer_loop.fold_batch_stats``).

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
        """Normalise ``x`` [B, C, H, W] as at inner step ``step``; return it with the batch's own statistics."""
        weight, bias = _row(self.weight, step), _row(self.bias, step)
        x = x.to(weight.dtype)  # under autocast too, statistics are those of full precision
        # The statistics come out of the normalisation itself: a second pass over x would cost a tenth of an iteration.
        y, mean, inverse = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, NORM_EPS)
        n = x.numel() // x.shape[1]
        var = (inverse.detach() ** -2 - NORM_EPS).clamp(min=0) * (n / max(n - 1, 1))  # biased -> unbiased
        if norm == "running":
            running_mean, running_var = _row(self.running_mean, step), _row(self.running_var, step)
            y = F.batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=NORM_EPS)
        return y, BatchStats(mean.detach(), var)


def _row(table: Tensor, step: int) -> Tensor:
    return table[step] if table.dim() == 2 else table  # [K, C] -> [C]


class Conv4(nn.Module):
    """Four stages of 3x3 convolution, batch norm, leaky ReLU and 2x2 max-pooling; then a linear head.

    With ``max_pool=False`` the convolutions have stride 2 and one global mean stands before the head.

    Args:
        channels: C of the images.
        image_size: height and width in pixels, at least 16.
        n_way: classes.
        filters: filters of each convolution.
        n_steps: K, rows of the per-step tables.
        max_pool, per_step_bn, per_step_stats: see ``mamlkit.core.config.Config``.

    Source: the authors' code (leaky ReLU of slope 0.01, biases on, Xavier-uniform weights); the paper names the layers
    only.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        n_way: int,
        *,
        filters: int = 64,
        n_steps: int = 5,
        max_pool: bool = True,
        per_step_bn: bool = False,
        per_step_stats: bool = False,
    ) -> None:
        super().__init__()
        self.max_pool = max_pool
        widths = [channels, filters, filters, filters, filters]
        stride = 1 if max_pool else 2
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, stride, padding=1) for i, o in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(
            PerStepBatchNorm2d(filters, n_steps, per_step_bn=per_step_bn, per_step_stats=per_step_stats)
            for _ in range(4)
        )
        side = image_size // 16 if max_pool else 1
        self.head = nn.Linear(filters * side * side, n_way)
        _xavier(self)

    def forward(self, x: Tensor, step: int, norm: str = "batch") -> tuple[Tensor, dict[str, BatchStats]]:
        """Return logits [B, n_way] for images [B, C, H, W] and the statistics of each norm layer [C]."""
        stats = {}
        for i, (conv, batch_norm) in enumerate(zip(self.convs, self.norms)):
            x, stats[f"norms.{i}"] = batch_norm(conv(x), step, norm)
            x = F.leaky_relu(x, LEAK)
            if self.max_pool:
                x = F.max_pool2d(x, 2)  # [B, C, H, W] -> [B, C, H/2, W/2]
        if not self.max_pool:
            x = x.mean((2, 3))  # [B, C, H, W] -> [B, C]
        return self.head(x.flatten(1)), stats  # -> [B, n_way]


class MLP(nn.Module):
    """Fully connected layers with ReLU between them and no batch norm; images are flattened.

    Source: the sinusoid regression of Finn et al. 2017, section 5.1 (two hidden layers of 40 units).
    """

    def __init__(self, n_inputs: int, n_outputs: int, *, hidden: tuple[int, ...] = (40, 40)) -> None:
        super().__init__()
        widths = [n_inputs, *hidden]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(widths, widths[1:]))
        self.head = nn.Linear(widths[-1], n_outputs)
        _xavier(self)

    def forward(self, x: Tensor, step: int, norm: str = "batch") -> tuple[Tensor, dict[str, BatchStats]]:
        """Return outputs [B, n_outputs] for inputs [B, ...]; ``step`` and ``norm`` change nothing."""
        x = x.flatten(1)
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x), {}


def _xavier(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build(config: Config, image_shape: tuple[int, int, int]) -> Any:
    """Return the network that a configuration names, freshly initialised from torch's generator.

    Args:
        config: see ``mamlkit.core.config.Config``.
        image_shape: (C, H, W) of the data.

    Returns:
        A module; or the result of the user's own function, see ``mamlkit.core.problem.Problem.from_config``.

    Raises:
        InputError: the user's own function cannot be imported, or fails.
    """
    if ":" in config.backbone:
        make = load_by_name(config.backbone)
        try:
            return make(config, image_shape)
        except Exception as error:
            kind = type(error).__name__
            raise InputError(f"backbone = {config.backbone!r} cannot be built ({kind}: {error})") from error
    channels, height, width = image_shape
    if config.backbone == "mlp":
        return MLP(channels * height * width, config.n_way, hidden=(config.filters, config.filters))
    return Conv4(
        channels,
        height,
        config.n_way,
        filters=config.filters,
        n_steps=config.n_steps,
        max_pool=config.max_pool,
        per_step_bn=config.per_step_bn,
        per_step_stats=config.per_step_stats,
    )
