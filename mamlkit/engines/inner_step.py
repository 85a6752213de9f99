"""One inner step of a chunk of tasks, and its part of the backward pass, each as one function for compilation.

Letters and arguments as in ``mamlkit.engines.closed_form``; ``P`` packed tensors, ``D`` packed numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from mamlkit.engines import packing
from mamlkit.engines.closed_form import Gradient, Shape, gradient, hessian_product
from mamlkit.engines.first_stage import Patches


class InnerStep(NamedTuple):
    """The result of ``inner_step``."""

    gradient: Gradient
    after: Tensor  # [D] weights after the step
    grad_norms: Tensor  # [P, G] l2 norm of each tensor's gradient


class BackStep(NamedTuple):
    """The result of ``back_step``: derivatives of the chunk's summed query loss."""

    adjoint: Tensor  # [D] with respect to the weights before the step
    rates: Tensor  # [P] with respect to the rates
    gamma: Tensor  # [L, F] with respect to batch norm's weights, by way of this step
    beta: Tensor  # [L, F] with respect to batch norm's biases, by way of this step


def inner_step(
    shape: Shape, theta: Tensor, norms: tuple[Tensor, Tensor], patches: Patches, y: Tensor, *, rates: Tensor
) -> InnerStep:
    """Return loss and gradient, and the weights after a step of gradient descent.

    Args:
        shape, theta, norms, patches, y: see ``mamlkit.engines.closed_form.gradient``.
        rates: [P] inner rates; a tensor with rate 0 stays as it is.
    """
    found = gradient(shape, theta, norms, patches, y)
    after = theta - packing.scale(shape, found.theta, rates)
    return InnerStep(found, after, packing.task_norms(shape, found.theta))


def back_step(
    shape: Shape,
    theta: Tensor,
    norms: tuple[Tensor, Tensor],
    patches: Patches,
    y: Tensor,
    *,
    rates: Tensor,
    adjoint: Tensor,
    slope: Tensor,
    saved: tuple[Tensor, ...],
) -> BackStep:
    """Return the derivatives before the step, given those after it.

    Args:
        shape, theta, norms, patches, y, rates: see ``inner_step``.
        adjoint: [D] derivative with respect to the weights after the step.
        slope: [D] the gradient of the step.
        saved: ``saved`` of the step's gradient.
    """
    v = packing.scale(shape, adjoint, rates)
    product = hessian_product(shape, theta, norms, patches, y, v=v, saved=saved)
    before = adjoint - product.theta
    return BackStep(before, -packing.products(shape, adjoint, slope), -product.gamma.sum(1), -product.beta.sum(1))
