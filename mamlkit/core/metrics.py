"""The default metric of a task, a number in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from mamlkit.core.errors import InputError


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the fraction of ``outputs`` [Q, N, ...] whose largest class is ``targets`` [Q, ...]; NaN for a regression.

    Raises:
        InputError: the outputs do not have one number for each class of each target.
    """
    if targets.is_floating_point():  # a regression has no accuracy
        return torch.full_like(outputs.detach().sum(), torch.nan)
    if outputs.dim() != targets.dim() + 1:
        raise InputError(
            f"outputs {list(outputs.shape)} do not have one number per class of targets {list(targets.shape)}, so "
            "there is no accuracy; set Problem(metric=...) to a metric that fits"
        )
    return (outputs.detach().argmax(1) == targets).to(outputs.dtype).mean()
