"""One stage of ``Conv4`` in closed form: its output, its derivative, and the tangents of both along a direction.

A stage is convolution, batch norm, leaky ReLU and 2x2 max-pooling. It pools before it normalises: the function is the
same, because normalising is monotone (if its weight is negative, the smallest value of a window is picked), and it uses
a quarter of the memory. The convolution's bias is left out: batch norm subtracts it again.

    z = W * h                 u = (pick(z) - mean z) r,   r = 1 / sqrt(var z + 1e-5)
    a = gamma u + beta        above = a if a > 0 else 0.01 a

Axis letters: ``G`` tasks at once, ``B`` images of each, ``H, W`` height and width (``H', W'`` pooled), ``C`` channels
in, ``F`` filters, ``k`` side of the kernel, ``L`` loss. Activations are [B, H, W, G, C]; a grouped convolution reads
them as channels-last images of G C channels. In names, ``d`` is a derivative of the loss and ``_t`` a tangent: d/de at
theta + e v.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mamlkit.core.batch_norm import NORM_EPS
from mamlkit.core.networks import LEAK


class Layer(NamedTuple):
    """Batch-norm parameters that all tasks share, and the settings of a stage."""

    gamma: Tensor  # [F] batch-norm weight
    beta: Tensor  # [F] batch-norm bias
    pool: bool  # 2x2 max-pooling
    stride: int  # of the convolution
    autocast: bool  # convolutions in bfloat16

    def activate(self, u: Tensor) -> Tensor:
        """Return the leaky ReLU of gamma u + beta."""
        return F.leaky_relu(self.gamma * u + self.beta, LEAK)

    def through_leaky(self, d: Tensor, u: Tensor) -> Tensor:
        """Return ``d`` times the derivative of the leaky ReLU at gamma u + beta."""
        return torch.where(self.gamma * u + self.beta > 0, d, LEAK * d)


class Half(NamedTuple):
    """Tensors that the backward pass needs from the forward pass."""

    z: Tensor  # [B, H, W, G, F]
    mean: Tensor  # [G, F] of z
    var: Tensor  # [G, F] of z, biased
    picked: Tensor  # [B, H', W', G, F] position in its window, 0 to 3; [0] without pooling
    u: Tensor  # [B, H', W', G, F]


class Saved(NamedTuple):
    """Tensors that the tangent pass needs from the forward and backward pass."""

    z: Tensor  # [B, H, W, G, F]
    mean: Tensor  # [G, F]
    r: Tensor  # [G, F] inverse standard deviation
    picked: Tensor  # [B, H', W', G, F]
    u: Tensor  # [B, H', W', G, F]
    du: Tensor  # [B, H', W', G, F], dL/d(gamma u + beta)
    dgamma: Tensor  # [G, F]
    dbeta: Tensor  # [G, F]


class HalfTangent(NamedTuple):
    """Tensors that the backward tangent needs from the forward tangent."""

    z: Tensor  # [B, H, W, G, F]
    mean: Tensor  # [G, F]
    sd: Tensor  # [G, F] of the standard deviation 1/r; the tangent of r is -r^2 times this
    u: Tensor  # [B, H', W', G, F]


def forward(h: Tensor, w: Tensor, layer: Layer) -> tuple[Half, Tensor]:
    """Forward pass: return the saved tensors and the output, for ``h`` [B, H, W, G, C] and ``w`` [G, F, k, k, C]."""
    z = convolve(h, w, layer)
    mean = z.mean((0, 1, 2))
    var = (z - mean).square().mean((0, 1, 2))
    picked, top = pick_largest(z, layer)
    u = (top - mean) * inverse(var)
    return Half(z, mean, var, picked, u), layer.activate(u)


def backward(half: Half, h: Tensor, w: Tensor, dabove: Tensor, layer: Layer) -> tuple[Saved, Tensor, Tensor]:
    """Backward pass: given dL/d(output), return saved tensors, dL/dh and dL/dw."""
    saved = Saved(half.z, half.mean, inverse(half.var), half.picked, half.u, *through_activation(dabove, half.u, layer))
    return saved, *convolve_backward(_through_norm(saved, layer), h, w, layer)


def forward_tangent(
    saved: Saved, inputs: tuple[Tensor, Tensor], tangents: tuple[Tensor, Tensor], layer: Layer
) -> tuple[HalfTangent, Tensor]:
    """Forward tangent: given (h, w) and their tangents, return the tangents of the saved tensors and of the output."""
    (h, w), (h_t, w_t) = inputs, tangents
    z_t = convolve(h, w_t, layer) + convolve(h_t, w, layer)
    mean_t = z_t.mean((0, 1, 2))
    sd_t = ((saved.z - saved.mean) * saved.r * z_t).mean((0, 1, 2))
    u_t = saved.r * (pick(z_t, saved.picked, layer) - mean_t - saved.u * sd_t)
    return HalfTangent(z_t, mean_t, sd_t, u_t), layer.through_leaky(layer.gamma * u_t, saved.u)


def backward_tangent(
    saved: Saved,
    half: HalfTangent,
    inputs: tuple[Tensor, Tensor],
    tangents: tuple[Tensor, Tensor],
    dabove_t: Tensor,
    *,
    layer: Layer,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Backward tangent: given the tangent of dL/d(output), return the tangents of dL/dh, dL/dw, dL/dgamma, dL/dbeta."""
    (h, w), (h_t, w_t) = inputs, tangents
    du_t, dgamma_t, dbeta_t = through_activation_tangent(saved, half.u, dabove_t, layer)
    dz = _through_norm(saved, layer)
    n = saved.z[..., 0, 0].numel()
    z_hat = (saved.z - saved.mean) * saved.r
    z_hat_t = saved.r * (half.z - half.mean - z_hat * half.sd)
    direct = unpool(du_t, saved.picked, saved.z.shape[1:3], layer) - dbeta_t / n
    by_variance = (z_hat_t * saved.dgamma + z_hat * dgamma_t) / n
    dz_t = saved.r * (layer.gamma * (direct - by_variance) - half.sd * dz)
    dh_t, dw_t = convolve_backward(dz_t, h, w, layer)
    more_h, more_w = convolve_backward(dz, h_t, w_t, layer)
    return dh_t + more_h, dw_t + more_w, dgamma_t, dbeta_t


def inverse(var: Tensor) -> Tensor:
    """Return r, the inverse standard deviation, from the biased variance."""
    return torch.rsqrt(var + NORM_EPS)


def through_activation(dabove: Tensor, u: Tensor, layer: Layer) -> tuple[Tensor, Tensor, Tensor]:
    """Given dL/d(output), return the derivatives with respect to gamma u + beta, gamma and beta."""
    du = layer.through_leaky(dabove, u)
    return du, (du * u).sum((0, 1, 2)), du.sum((0, 1, 2))


def through_activation_tangent(
    saved: Any, u_t: Tensor, dabove_t: Tensor, layer: Layer
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tangents of ``through_activation``'s results; ``saved`` is a stage's ``Saved``."""
    du_t = layer.through_leaky(dabove_t, saved.u)
    return du_t, (du_t * saved.u + saved.du * u_t).sum((0, 1, 2)), du_t.sum((0, 1, 2))


def convolve(h: Tensor, w: Tensor, layer: Layer) -> Tensor:
    """Return the convolution of ``h`` [B, H, W, G, C] with each task's own ``w`` [G, F, k, k, C]: [B, H, W, G, F]."""
    image, kernel = _cast(layer, _image(h), _kernel(w))
    z = torch.convolution(image, kernel, None, *_geometry(w, layer))
    return _activation(z.to(h.dtype), len(w))


def convolve_backward(dz: Tensor, h: Tensor, w: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """Given dL/dz [B, H, W, G, F], return dL/dh and dL/dw."""
    tensors = _cast(layer, _image(dz), _image(h), _kernel(w))
    wanted = [True, True, False]
    dh, dw, _ = torch.ops.aten.convolution_backward(*tensors, None, *_geometry(w, layer), wanted)
    return _activation(dh.to(h.dtype), len(w)), _weight(dw, w)


def pick_largest(z: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """Return the position in each window of the largest normalised value (the first of equals), and z there.

    Positions have the dtype of z, because a vector instruction takes one dtype.
    """
    if not layer.pool:
        return z.new_empty(0), z
    best, *others = (layer.gamma.sign() * corner for corner in _corners(z))
    picked = torch.zeros_like(best)
    for place, other in enumerate(others, 1):
        picked = torch.where(other > best, float(place), picked)
        best = torch.maximum(best, other)
    return picked, pick(z, picked, layer)


def pick(z: Tensor, picked: Tensor, layer: Layer) -> Tensor:
    """Return ``z`` at the picked positions: [B, H', W', G, F]."""
    if not layer.pool:
        return z
    found, *others = _corners(z)
    for place, other in enumerate(others, 1):
        found = torch.where(picked == place, other, found)
    return found


def unpool(d: Tensor, picked: Tensor, size: Sequence[int], layer: Layer) -> Tensor:
    """Return ``d`` [B, H', W', G, F] at the picked positions, 0 elsewhere: [B, H, W, G, F], (H, W) = ``size``."""
    if not layer.pool:
        return d
    images, height, width, *channels = d.shape
    place = torch.arange(4, dtype=d.dtype, device=d.device).view(1, 1, 2, 1, 2, 1, 1)
    windows = torch.where(picked[:, :, None, :, None] == place, d[:, :, None, :, None], 0.0)  # [B, H', 2, W', 2, G, F]
    placed = windows.reshape(images, 2 * height, 2 * width, *channels)
    return F.pad(placed, (0, 0, 0, 0, 0, size[1] - 2 * width, 0, size[0] - 2 * height))


def _through_norm(saved: Saved, layer: Layer) -> Tensor:
    n = saved.z[..., 0, 0].numel()
    z_hat = (saved.z - saved.mean) * saved.r
    du = unpool(saved.du, saved.picked, saved.z.shape[1:3], layer)
    return saved.r * layer.gamma * (du - saved.dbeta / n - z_hat * saved.dgamma / n)


def _corners(z: Tensor) -> tuple[Tensor, ...]:
    height, width = z.shape[1] // 2 * 2, z.shape[2] // 2 * 2  # an odd last row or column belongs to no window
    return tuple(z[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1))


def _geometry(w: Tensor, layer: Layer) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
    return [layer.stride] * 2, [w.shape[2] // 2] * 2, [1, 1], False, [0, 0], len(w)


def _cast(layer: Layer, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.bfloat16() for tensor in tensors) if layer.autocast else tensors


def _image(h: Tensor) -> Tensor:
    return h.flatten(3).permute(0, 3, 1, 2)  # [B, H, W, G, C] -> [B, G C, H, W], channels last in memory


def _activation(z: Tensor, n_tasks: int) -> Tensor:
    return torch.unflatten(z.permute(0, 2, 3, 1), 3, (n_tasks, -1))  # [B, G F, H, W] -> [B, H, W, G, F]


def _kernel(w: Tensor) -> Tensor:
    return w.flatten(0, 1).permute(0, 3, 1, 2)  # [G, F, k, k, C] -> [G F, C, k, k], channels last in memory


def _weight(dw: Tensor, w: Tensor) -> Tensor:
    return dw.to(w.dtype).permute(0, 2, 3, 1).reshape(w.shape)  # [G F, C, k, k] -> [G, F, k, k, C]
