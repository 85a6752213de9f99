"""Batch norm that knows the inner step: the formula by hand, its statistics, and gradients through them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mamlkit import Config, InputError
from mamlkit.core.batch_norm import PerStepBatchNorm2d, check_tables
from mamlkit.core.networks import Conv4

N_STEPS = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 4, channels: int = 2, side: int = 5) -> Tensor:
    return torch.rand(n, channels, side, side, generator=generator(), dtype=torch.float64)


def make_norm(*, per_step: bool = True) -> PerStepBatchNorm2d:
    """Return a layer in float64 with every number moved."""
    norm = PerStepBatchNorm2d(2, N_STEPS, per_step_bn=per_step, per_step_stats=per_step).double()
    rng = generator(1)
    for tensor in (*norm.parameters(), *norm.buffers()):
        tensor.data += torch.rand(tensor.shape, generator=rng, dtype=torch.float64) / 5
    return norm


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("step", range(N_STEPS))
def test_batch_norm_equals_the_formula_and_returns_mean_and_unbiased_variance(per_step: bool, step: int) -> None:
    norm, x = make_norm(per_step=per_step), 3 * images(channels=2, side=5) + 7
    y, stats = norm(x, step)
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    weight, bias = (table[step] if per_step else table for table in (norm.weight, norm.bias))
    expected = weight[:, None, None] * (x - mean) / (var + 1e-5).sqrt() + bias[:, None, None]
    assert torch.allclose(y, expected, rtol=0, atol=1e-12)
    assert torch.allclose(stats.mean, mean.flatten(), rtol=0, atol=1e-12)
    assert torch.allclose(stats.var, x.var((0, 2, 3), correction=1), rtol=0, atol=1e-11)


def test_gradients_flow_through_the_statistics_of_the_batch_but_not_out_of_the_returned_ones() -> None:
    norm, x = make_norm(), images(channels=2, side=5).requires_grad_()
    y, stats = norm(x, 1)
    cotangent = torch.randn(y.shape, generator=generator(2), dtype=torch.float64)
    [found] = torch.autograd.grad((y * cotangent).sum(), x)
    centred = x - x.mean((0, 2, 3), keepdim=True)
    normal = centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    [expected] = torch.autograd.grad((normal * norm.weight[1, :, None, None] * cotangent).sum(), x)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    assert not any(value.requires_grad for value in stats)


def test_one_value_in_a_channel_has_variance_zero() -> None:
    y, stats = make_norm()(images(n=1, channels=2, side=1), 0)
    assert bool(torch.isfinite(y).all())
    assert bool((stats.var == 0).all())


def test_a_network_whose_tables_are_not_those_of_the_configuration_is_refused() -> None:
    shared, tables = (
        Conv4(1, 16, 2, filters=2, n_steps=3, per_step_bn=each, per_step_stats=each) for each in (False, True)
    )
    check_tables(shared, Config(n_steps=7))
    check_tables(tables, Config(n_steps=3, per_step_bn=True, per_step_stats=True))
    for field in ("per_step_bn", "per_step_stats"):
        with pytest.raises(InputError, match=f"^{field} = True has no meaning: .* Conv4 has no .* with {field}$"):
            check_tables(shared, Config(**{field: True}))
    with pytest.raises(InputError, match=r"^norms\.0\.weight has 3 rows, .* at most 3 .* has 4$"):
        check_tables(tables, Config(n_steps=4))
