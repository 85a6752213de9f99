"""Networks of the few-shot literature that take the inner step: ``network(x, step, norm) -> (logits, statistics)``.

Axis letters: ``B`` images in a batch, ``K`` inner steps, ``C, H, W`` channels, height, width.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mamlkit.core.batch_norm import BatchStats, PerStepBatchNorm2d
from mamlkit.core.config import Config
from mamlkit.core.deep import DeepConv
from mamlkit.core.errors import InputError, described
from mamlkit.core.resnet import ResNet12
from mamlkit.core.system.imports import load_by_name

LEAK = 0.01


class Conv4(nn.Module):
    """Four stages of 3x3 convolution, batch norm, leaky ReLU and 2x2 max-pooling; then a linear head.

    With ``max_pool=False`` the convolutions have stride 2, and a global mean precedes the head.

    Args:
        channels: C of the images.
        image_size: height and width in pixels, at least 16.
        n_way: classes.
        filters: filters of each convolution.
        n_steps: K, rows of the per-step tables.
        max_pool, per_step_bn, per_step_stats: see ``mamlkit.core.config.Config``.

    Source: the authors' code (leaky ReLU of slope 0.01, biases on, Xavier-uniform weights); the paper only names the
    layers.
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
        """Return outputs [B, n_outputs] for inputs [B, ...]; ``step`` and ``norm`` are ignored."""
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


SHIPPED = (Conv4, DeepConv, MLP, ResNet12)  # they draw no random numbers, and torch.vmap maps them over tasks


def build(config: Config, image_shape: tuple[int, int, int]) -> Any:
    """Return the network of a configuration, initialised from torch's generator.

    Args:
        config: see ``mamlkit.core.config.Config``.
        image_shape: (C, H, W) of the data.

    Returns:
        A module; or the result of the user's own function, see ``mamlkit.core.problem.Problem.from_config``.

    Raises:
        InputError: the user's own function cannot be imported, or fails; the images are too small for the network.
    """
    return _own(config, image_shape) if ":" in config.backbone else _with_head(config, *image_shape)


def _own(config: Config, image_shape: tuple[int, int, int]) -> Any:
    make = load_by_name(config.backbone)
    try:
        return make(config, image_shape)
    except (Exception, SystemExit) as error:
        raise InputError(f"backbone = {config.backbone!r} cannot be built ({described(error)})") from error


def _with_head(config: Config, channels: int, height: int, width: int) -> nn.Module:
    if config.backbone == "mlp":
        return MLP(channels * height * width, config.n_way, hidden=(config.filters, config.filters))
    same: dict[str, Any] = {
        name: getattr(config, name) for name in ("filters", "n_steps", "per_step_bn", "per_step_stats")
    }
    if config.backbone == "resnet12":
        return ResNet12(channels, min(height, width), config.n_way, **same)
    if config.backbone == "deep":
        switches = {name: getattr(config, name) for name in ("depth", "batch_norm", "skips")}
        return DeepConv(channels, height, config.n_way, **switches, **same)
    return Conv4(channels, height, config.n_way, max_pool=config.max_pool, **same)
