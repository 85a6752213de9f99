"""Changes of the inner gradient, each by hand on two steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mamlkit.core.transforms import AdamScaling, Momentum, Transform, WeightDecay

FIRST, SECOND = torch.tensor([3.0, -4.0], dtype=torch.float64), torch.tensor([1.0, 0.5], dtype=torch.float64)
THETA = torch.tensor([10.0, -2.0], dtype=torch.float64)


def two_steps(transform: Transform) -> tuple[Tensor, Tensor]:
    params = {"w": THETA}
    state = transform.init(params)
    first, state = transform.update({"w": FIRST}, state, params, 0)
    second, _ = transform.update({"w": SECOND}, state, params, 1)
    return first["w"], second["w"]


def test_momentum_adds_the_decayed_sum_of_the_gradients_before() -> None:
    first, second = two_steps(Momentum(0.5))
    assert first.tolist() == [3.0, -4.0]
    assert second.tolist() == [0.5 * 3 + 1, 0.5 * -4 + 0.5]


def test_adams_first_step_is_the_sign_and_its_second_is_scaled_by_both_means() -> None:
    first, second = two_steps(AdamScaling(beta1=0.5, beta2=0.75, eps=0.0))
    assert first.tolist() == pytest.approx([1.0, -1.0], rel=1e-12)
    mean = (0.5 * 0.5 * 3 + 0.5 * 1) / (1 - 0.5**2)
    square = (0.75 * 0.25 * 9 + 0.25 * 1) / (1 - 0.75**2)
    assert second[0].item() == pytest.approx(mean / math.sqrt(square), rel=1e-12)


def test_weight_decay_pulls_to_zero() -> None:
    first, second = two_steps(WeightDecay(0.1))
    assert first.tolist() == [3.0 + 1.0, -4.0 - 0.2]
    assert second.tolist() == [1.0 + 1.0, 0.5 - 0.2]


def test_a_transform_keeps_nothing_unless_it_says_so() -> None:
    assert WeightDecay(0.1).init({"w": THETA}) == ()
    with pytest.raises(NotImplementedError):
        Transform().update({"w": FIRST}, (), {"w": THETA}, 0)
