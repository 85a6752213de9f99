"""Metrics of a task: the default, and the range [0, 1] of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def check_metric(metric: Callable[[Any, Any], Tensor], values: Tensor) -> None:
    """Raise unless all values of a metric are in [0, 1] or NaN.

    Raises:
        InputError: a value is outside [0, 1].
    """
    wrong = values[(values < 0) | (values > 1)]
    if len(wrong):
        name = getattr(metric, "__name__", repr(metric))
        raise InputError(f"the metric {name} is {float(wrong[0]):g} on a task; a number in [0, 1] or NaN is allowed")
