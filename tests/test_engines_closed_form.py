"""The closed form of Conv4: value, gradient and Hessian product against autograd, at its edges too."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from mamlkit.core.networks import Conv4
from mamlkit.engines import closed_form, packing, stage
from mamlkit.engines.closed_form import STAGES, Gradient, HessianProduct, Shape
from mamlkit.engines.first_stage import Patches

POOLED = Shape(n_tasks=2, n_images=4, n_way=2, channels=2, size=16, filters=3, pool=True, dtype="float64")
SHAPES = {
    "pooled": POOLED,
    "one task": dataclasses.replace(POOLED, n_tasks=1),
    "odd sides": dataclasses.replace(POOLED, size=30),
    "a head that sees 2x2": dataclasses.replace(POOLED, size=32, channels=1),
    "strided": dataclasses.replace(POOLED, pool=False),
    "strided, odd sides": dataclasses.replace(POOLED, pool=False, size=25),
}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


class Problem:
    """A chunk of tasks with different weights, and the same network for autograd."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        generator = torch.Generator().manual_seed(0)

        def noise(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        self.theta, self.v = noise(sum(shape.sizes)) / 2, noise(sum(shape.sizes))
        self.norms = noise(4, shape.filters), noise(4, shape.filters)  # gamma of both signs
        self.images = noise(shape.n_tasks, shape.n_images, shape.channels, shape.size, shape.size)
        self.y = torch.arange(shape.n_images).remainder(shape.n_way).repeat(shape.n_tasks, 1)
        self.model = Conv4(shape.channels, shape.size, shape.n_way, filters=shape.filters, max_pool=shape.pool).double()

    def gradient(self) -> Gradient:
        return closed_form.gradient(self.shape, self.theta, self.norms, self.patches, self.y)

    def product(self) -> HessianProduct:
        saved = self.gradient().saved
        return closed_form.hessian_product(
            self.shape, self.theta, self.norms, self.patches, self.y, v=self.v, saved=saved
        )

    @property
    def patches(self) -> Patches:
        return Patches.of(self.images, self.shape.stride)

    def by_autograd(self, theta: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the losses and logits of the tasks by the library's own network."""
        losses, logits = [], []
        for task in range(self.shape.n_tasks):
            single = dataclasses.replace(self.shape, n_tasks=1)
            own = torch.cat([part[task].flatten() for part in self.shape.unpack(theta)])
            params = packing.unpack_sum(single, own)
            params |= {f"convs.{i}.bias": torch.zeros(self.shape.filters, dtype=torch.float64) for i in range(4)}
            for i in range(4):
                params |= {f"norms.{i}.weight": gamma[i], f"norms.{i}.bias": beta[i]}
            out, _ = functional_call(self.model, params, (self.images[task], 0))
            losses.append(F.cross_entropy(out, self.y[task]))
            logits.append(out)
        return torch.stack(losses), logits


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@each_shape
def test_value_and_gradient_are_those_of_autograd(shape: Shape) -> None:
    problem = Problem(shape)
    leaves = [x.clone().requires_grad_() for x in (problem.theta, *problem.norms)]
    losses, logits = problem.by_autograd(*leaves)
    by_theta, by_gamma, by_beta = torch.autograd.grad(losses.sum(), leaves)
    found = problem.gradient()
    assert_close(found.loss, losses.detach())
    assert_close(found.logits, torch.stack(logits).detach())
    assert_close(found.theta, by_theta)
    assert_close(found.gamma.sum(1), by_gamma)
    assert_close(found.beta.sum(1), by_beta)


@each_shape
def test_the_hessian_product_is_the_derivative_of_gradient_times_vector(shape: Shape) -> None:
    problem = Problem(shape)
    leaves = [x.clone().requires_grad_() for x in (problem.theta, *problem.norms)]
    losses, _ = problem.by_autograd(*leaves)
    [by_theta] = torch.autograd.grad(losses.sum(), leaves[:1], create_graph=True)
    expected = torch.autograd.grad(by_theta @ problem.v, leaves)
    found = problem.product()
    assert_close(found.theta, expected[0])
    assert_close(found.gamma.sum(1), expected[1])
    assert_close(found.beta.sum(1), expected[2])


@each_shape
def test_statistics_are_those_of_every_convolution(shape: Shape) -> None:
    problem = Problem(shape)
    found = problem.gradient()
    for task in range(shape.n_tasks):
        x = problem.images[task]
        for i in range(len(STAGES)):
            w = shape.unpack(problem.theta)[i][task]
            kernel = w.view(shape.filters, -1, 3, 3) if i == 0 else w.permute(0, 3, 1, 2)
            z = F.conv2d(x, kernel, stride=shape.stride, padding=1)
            assert_close(found.mean[i, task], z.mean((0, 2, 3)))
            assert_close(found.var[i, task], z.var((0, 2, 3), correction=0))
            gamma, beta = (table[i] for table in problem.norms)
            x = F.leaky_relu(F.batch_norm(z, None, None, gamma, beta, training=True), 0.01)
            x = F.max_pool2d(x, 2) if shape.pool else x


def test_of_equal_values_the_first_is_picked_as_max_pooling_does() -> None:
    problem = Problem(POOLED)
    problem.images[:, :, :, 4:12, 4:12] = 0.5  # a flat patch
    problem.norms[0][:, 0] = 0.0  # where gamma is 0 all values of a window are equal
    leaves = [x.clone().requires_grad_() for x in (problem.theta, *problem.norms)]
    losses, _ = problem.by_autograd(*leaves)
    by_theta, by_gamma, _ = torch.autograd.grad(losses.sum(), leaves, create_graph=True)
    assert_close(problem.gradient().theta, by_theta.detach())
    assert_close(problem.gradient().gamma.sum(1), by_gamma.detach())
    assert_close(problem.product().theta, torch.autograd.grad(by_theta @ problem.v, leaves)[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_shows_in_loss_and_gradient(bad: float) -> None:
    problem = Problem(POOLED)
    problem.images[1, 0, 0, 3, 3] = bad
    found = problem.gradient()
    assert found.loss.isfinite().tolist() == [True, False]
    assert not found.theta.isfinite().all()


def test_bfloat16_convolutions_stay_near() -> None:
    exact, rounded = Problem(POOLED), Problem(dataclasses.replace(POOLED, autocast=True))
    distance = (exact.gradient().theta - rounded.gradient().theta).norm() / exact.gradient().theta.norm()
    assert 1e-5 < distance < 0.1


def test_packing_and_unpacking_are_transposes() -> None:
    shape = SHAPES["a head that sees 2x2"]
    params: dict[str, Any] = {
        name: torch.randn(size, dtype=torch.float64)
        for name, size in {
            "convs.0.weight": (3, 1, 3, 3),
            **{f"convs.{i}.weight": (3, 3, 3, 3) for i in (1, 2, 3)},
            "head.weight": (2, 12),
            "head.bias": (2,),
        }.items()
    }
    packed = packing.pack(shape, params)
    back = packing.unpack_sum(shape, packed)
    assert all(torch.equal(back[name], shape.n_tasks * value) for name, value in params.items())
    norms = packing.task_norms(shape, packed)
    assert all(torch.allclose(row, value.norm().expand(2)) for row, value in zip(norms, params.values(), strict=True))
    products = packing.products(shape, packed, packed)
    assert torch.allclose(products, torch.stack([2 * value.square().sum() for value in params.values()]))


def test_unpool_undoes_pick() -> None:
    layer = stage.Layer(torch.tensor([1.0, -1.0]), torch.zeros(2), pool=True, stride=1, autocast=False)
    z = torch.randn(2, 5, 7, 1, 2)
    picked, top = stage.pick_largest(z, layer)
    crop = z[:, :4, :6, 0].permute(0, 3, 1, 2)  # [B, F, 4, 6]
    largest, smallest = F.max_pool2d(crop, 2)[:, 0], -F.max_pool2d(-crop, 2)[:, 1]
    assert torch.equal(top[..., 0, 0], largest)
    assert torch.equal(top[..., 0, 1], smallest)
    placed = stage.unpool(top, picked, (5, 7), layer)
    assert placed.shape == z.shape
    assert torch.equal(placed[placed != 0], z[placed != 0])
    assert (placed != 0).sum() == top.numel()
