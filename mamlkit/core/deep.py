"""A deep plain network with two switches against exploding gradients: ``network(x, step, norm) -> (logits, stats)``.

Axis letters: ``B`` images in a batch, ``C, H, W`` channels, height, width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mamlkit.core.batch_norm import BatchStats, PerStepBatchNorm2d

STAGES = 4  # each ends with 2x2 max-pooling


def last_convs(depth: int) -> set[int]:
    """Return the last convolution of each stage, from 0.

    >>> last_convs(8)
    {1, 3, 5, 7}
    """
    return {-(-depth * stage // STAGES) - 1 for stage in range(1, STAGES + 1)}


class DeepConv(nn.Module):
    """3x3 convolutions with ReLU in four stages, each followed by 2x2 max-pooling; then a linear head.

    Without batch norm and without skip connections, the backward pass multiplies by one weight matrix after another:
    the network of the paper's argument about exploding gradients. The two switches are its usual cures.

    Args:
        channels: C of the images.
        image_size: height and width in pixels, at least 16: each stage halves it.
        n_way: classes.
        depth: number of convolutions, 4 to 12, split over the stages as evenly as possible.
        batch_norm: normalise after each convolution.
        skips: add the input of each convolution to its activation, except around the first convolution.
        filters: filters of each convolution.
        n_steps: K, rows of the per-step tables.
        per_step_bn, per_step_stats: see ``mamlkit.core.config.Config``.

    Source: section 3.1 of the paper, which names a convolutional network without skip connections; initial weights by
    He et al. 2015, arXiv:1502.01852; skip connections by He et al. 2016, arXiv:1512.03385.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        n_way: int,
        *,
        depth: int = 8,
        batch_norm: bool = True,
        skips: bool = False,
        filters: int = 64,
        n_steps: int = 5,
        per_step_bn: bool = False,
        per_step_stats: bool = False,
    ) -> None:
        super().__init__()
        self.skips = skips
        self.ends = last_convs(depth)
        widths = [channels, *[filters] * depth]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(
            PerStepBatchNorm2d(filters, n_steps, per_step_bn=per_step_bn, per_step_stats=per_step_stats)
            for _ in range(depth * batch_norm)
        )
        self.head = nn.Linear(filters * (image_size // 2**STAGES) ** 2, n_way)
        for layer in (*self.convs, self.head):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if layer is not self.head else "linear")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, step: int, norm: str = "batch") -> tuple[Tensor, dict[str, BatchStats]]:
        """Return logits [B, n_way] for images [B, C, H, W] and the statistics of each norm layer [C]."""
        stats = {}
        for i, conv in enumerate(self.convs):
            z = conv(x)
            if self.norms:
                z, stats[f"norms.{i}"] = self.norms[i](z, step, norm)
            x = (F.relu(z) + x) / 2**0.5 if self.skips and i else F.relu(z)
            if i in self.ends:
                x = F.max_pool2d(x, 2)  # [B, C, H, W] -> [B, C, H/2, W/2]
        return self.head(x.flatten(1)), stats  # -> [B, n_way]
