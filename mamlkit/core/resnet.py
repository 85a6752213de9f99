"""ResNet-12, the deeper network of the few-shot literature: ``network(x, step, norm) -> (logits, statistics)``.

Axis letters: ``B`` images in a batch, ``C, H, W`` channels, height, width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mamlkit.core.batch_norm import BatchStats, PerStepBatchNorm2d
from mamlkit.core.errors import InputError

LEAK = 0.1
SMALLEST = 16  # pixels; each of the four blocks halves the image


def widths(filters: int) -> tuple[int, int, int, int]:
    """Return the filters of the four blocks; the first block has ``filters``.

    >>> widths(64)
    (64, 160, 320, 640)
    """
    return filters, filters * 5 // 2, filters * 5, filters * 10


class Block(nn.Module):
    """Three 3x3 convolutions and a shortcut around them, then 2x2 max-pooling.

    Batch norm follows each convolution, and leaky ReLU follows the first two norms and the sum. The last convolution,
    1x1, is the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, n_steps: int, *, per_step_bn: bool, per_step_stats: bool) -> None:
        super().__init__()
        sizes = [inputs, outputs, outputs, outputs]
        convs = [nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip(sizes, sizes[1:])]
        self.convs = nn.ModuleList([*convs, nn.Conv2d(inputs, outputs, 1, bias=False)])
        self.norms = nn.ModuleList(
            PerStepBatchNorm2d(outputs, n_steps, per_step_bn=per_step_bn, per_step_stats=per_step_stats)
            for _ in self.convs
        )

    def forward(self, x: Tensor, step: int, norm: str = "batch") -> tuple[Tensor, dict[str, BatchStats]]:
        """Return ``x`` [B, C, H, W] as [B, outputs, H/2, W/2], and the statistics of each norm layer [outputs]."""
        stats, shortcut = {}, x
        for i, (conv, batch_norm) in enumerate(zip(self.convs, self.norms)):
            if i == 3:
                shortcut, stats[f"norms.{i}"] = batch_norm(conv(shortcut), step, norm)
                continue
            x, stats[f"norms.{i}"] = batch_norm(conv(x), step, norm)
            x = F.leaky_relu(x, LEAK) if i < 2 else x
        return F.max_pool2d(F.leaky_relu(x + shortcut, LEAK), 2), stats  # [B, C, H, W] -> [B, C, H/2, W/2]


class ResNet12(nn.Module):
    """Four residual blocks of three convolutions, a global mean and a linear head; no drop-block.

    Args:
        channels: C of the images.
        image_size: height and width in pixels, at least 16: each block halves it.
        n_way: classes.
        filters: width of the first block. The others have 2.5, 5 and 10 times as many filters, rounded down: 64 gives
            the usual 64, 160, 320 and 640.
        n_steps: K, rows of the per-step tables.
        per_step_bn, per_step_stats: see ``mamlkit.core.config.Config``.

    Raises:
        InputError: the images are too small.

    Source: Oreshkin et al. 2018 (TADAM), arXiv:1805.10123, for the blocks; Lee et al. 2019 (MetaOptNet),
    arXiv:1904.03758, and their code, for widths, leaky ReLU of slope 0.1, pooling and initial weights. With the global
    mean it is the network of Ye and Chao 2022, "How to Train Your MAML to Excel in Few-Shot Classification",
    arXiv:2106.16245.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        n_way: int,
        *,
        filters: int = 64,
        n_steps: int = 5,
        per_step_bn: bool = False,
        per_step_stats: bool = False,
    ) -> None:
        super().__init__()
        if image_size < SMALLEST:
            raise InputError(
                f"images of {image_size} pixels are too small for resnet12: its four blocks halve them to nothing; "
                f"{SMALLEST} or more are allowed"
            )
        sizes = [channels, *widths(filters)]
        self.blocks = nn.ModuleList(
            Block(i, o, n_steps, per_step_bn=per_step_bn, per_step_stats=per_step_stats)
            for i, o in zip(sizes, sizes[1:])
        )
        self.head = nn.Linear(sizes[-1], n_way)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")

    def forward(self, x: Tensor, step: int, norm: str = "batch") -> tuple[Tensor, dict[str, BatchStats]]:
        """Return logits [B, n_way] for images [B, C, H, W] and the statistics of each norm layer [C]."""
        stats: dict[str, BatchStats] = {}
        for i, block in enumerate(self.blocks):
            x, own = block(x, step, norm)
            stats |= {f"blocks.{i}.{name}": value for name, value in own.items()}
        return self.head(x.mean((2, 3))), stats  # [B, C, H, W] -> [B, C] -> [B, n_way]
