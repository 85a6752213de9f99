"""An inner step and its way back as one function each: rates per tensor, and tensors that do not adapt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mamlkit.engines import build, compiler, packing
from mamlkit.engines.closed_form import Shape
from mamlkit.engines.first_stage import Patches
from mamlkit.engines.inner_step import back_step, inner_step

SHAPE = Shape(n_tasks=2, n_images=4, n_way=2, channels=1, size=16, filters=3, pool=True, dtype="float64")


def example() -> tuple[tuple[Tensor, tuple[Tensor, Tensor], Patches, Tensor], Tensor]:
    """Return theta, norms, patches and labels; and the rates."""
    theta, gamma, beta, p, mean, cov, y, rates = build.example("inner_step", SHAPE)
    return (theta, (gamma, beta), Patches(p, mean, cov), y), rates


def test_each_tensor_takes_its_own_step_and_tells_its_norm() -> None:
    given, rates = example()
    found = inner_step(SHAPE, *given, rates=rates)
    parts = (SHAPE.unpack(vector) for vector in (found.after, given[0], found.gradient.theta))
    for rate, norms, after, before, slope in zip(rates, found.grad_norms, *parts, strict=True):
        torch.testing.assert_close(after, before - rate * slope)
        torch.testing.assert_close(norms, slope.flatten(1).norm(dim=1))


def test_a_tensor_with_rate_zero_stays_even_if_its_gradient_is_not_finite() -> None:
    vector = torch.full((sum(SHAPE.sizes),), torch.nan)
    rates = torch.zeros(len(SHAPE.sizes))
    assert not packing.scale(SHAPE, vector, rates).any()
    rates[0] = 1.0
    scaled = torch.split(packing.scale(SHAPE, vector, rates), SHAPE.sizes)
    assert scaled[0].isnan().all()
    assert not torch.cat(scaled[1:]).any()


@pytest.mark.parametrize("k", [0, 1])
def test_the_rates_of_a_step_are_those_of_its_column(k: int) -> None:
    inner_lrs = torch.tensor([[0.1, 0.2, 0.9], [0.3, 0.4, 0.9]])
    found = packing.rates(SHAPE, inner_lrs, ("convs.1.weight", "head.bias"), 2)
    named = dict(zip(SHAPE.tensors, found[k].tolist(), strict=True))
    assert named.pop("convs.1.weight") == pytest.approx([0.1, 0.2][k])
    assert named.pop("head.bias") == pytest.approx([0.3, 0.4][k])
    assert set(named.values()) == {0.0}


def test_the_way_back_is_the_derivative_of_a_step() -> None:
    given, rates = example()
    theta, norms, patches, y = given
    adjoint = torch.randn(len(theta), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradient = inner_step(SHAPE, *given, rates=rates).gradient
    slope, saved = gradient.theta, gradient.saved
    found = back_step(SHAPE, *given, rates=rates, adjoint=adjoint, slope=slope, saved=saved)

    def value(theta: Tensor, rates: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return adjoint @ inner_step(SHAPE, theta, (gamma, beta), patches, y, rates=rates).after

    expected = torch.autograd.functional.jacobian(value, (theta, rates, *norms))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_the_flat_form_has_every_tensor_once() -> None:
    flat = build.example("back_step", SHAPE)
    given, rates = example()
    assert len(flat) == 8 + 2 + len(inner_step(SHAPE, *given, rates=rates).gradient.saved)
    assert len(compiler.call_flat("back_step", SHAPE, flat)) == 4
