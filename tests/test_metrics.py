"""Accuracy: of classes, of pixels, and none of a regression."""

from __future__ import annotations

import math

import pytest
import torch

from mamlkit import InputError
from mamlkit.core.metrics import accuracy, check_metric


def test_the_largest_output_is_the_answer() -> None:
    outputs = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], requires_grad=True)
    found = accuracy(outputs, torch.tensor([1, 0, 0, 0]))
    assert found.item() == 0.75
    assert not found.requires_grad


def test_of_an_image_each_pixel_counts() -> None:
    outputs = torch.zeros(2, 3, 4, 4)  # [Q, N, H, W]
    outputs[:, 1] = 1.0
    targets = torch.ones(2, 4, 4, dtype=torch.int64)
    targets[0, 0] = 2
    assert accuracy(outputs, targets).item() == 28 / 32


def test_a_regression_has_none() -> None:
    assert math.isnan(accuracy(torch.zeros(3, 1), torch.zeros(3, 1)).item())


def test_outputs_that_are_no_number_per_class_are_refused() -> None:
    with pytest.raises(InputError, match=r"outputs \[4\] do not have one number per class of targets \[4\]"):
        accuracy(torch.zeros(4), torch.zeros(4, dtype=torch.int64))


def test_a_metric_is_a_share_or_nan() -> None:
    check_metric(accuracy, torch.tensor([0.0, 1.0, math.nan]))
    with pytest.raises(
        InputError, match=r"^the metric accuracy is -inf on a task; a number in \[0, 1\] or NaN is allowed$"
    ):
        check_metric(accuracy, torch.tensor([0.5, -math.inf]))
