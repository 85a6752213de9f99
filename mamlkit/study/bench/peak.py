"""The speed of this machine's convolutions alone: the upper bound for the engines."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F

FILTERS, SIDE, KERNEL = 64, 14, 3
SHAPES = ((40, 1), (160, 1), (5, 8), (20, 8))  # images, groups of 64 filters


def convolution_peak(seconds: float = 0.25) -> float:
    """Return the fastest float32 forward convolution, 64 to 64 channels, 3x3, on 14x14, channels last, in GFLOP/s.

    Args:
        seconds: duration for each of a few numbers of images and groups.
    """
    return max(_fastest(images, groups, seconds) for images, groups in SHAPES)


@torch.no_grad()
def _fastest(images: int, groups: int, seconds: float) -> float:
    x = torch.rand(images, groups * FILTERS, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    w = torch.rand(groups * FILTERS, FILTERS, KERNEL, KERNEL).contiguous(memory_format=torch.channels_last)
    flop = 2.0 * x.numel() * FILTERS * KERNEL**2
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        F.conv2d(x, w, padding=KERNEL // 2, groups=groups)
        best = min(best, time.perf_counter() - begin)
    return flop / best / 1e9
