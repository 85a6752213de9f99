"""The precision of convolutions and matrix products on CUDA."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def precision(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Compute float32 convolutions and matrix products in full precision, or in TF32, while the context lasts.

    torch's own default differs between the two. Other devices have no TF32, and nothing changes there.

    Writes: torch's settings during the context.
    """
    if device.type != "cuda":
        yield
        return
    settings: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        for setting, own in zip(settings, before):
            setting.fp32_precision = own
