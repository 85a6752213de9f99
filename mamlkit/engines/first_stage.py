"""The first stage of ``Conv4`` in closed form; its input does not depend on the weights.

A 3x3 convolution of few channels is slow; the product of matrices z = W P, with the images' 3x3 neighbourhoods P, is
fast. It has full precision, because the statistics below are computed from W.
The batch statistics of z, and all terms of batch norm's derivative, follow from the mean p and the covariance C of the
neighbourhoods, without a pass over the largest activation:

    mean z = W p,    var z = diag(W C W'),    z_hat P' / n = r W C

The functions, letters and marks are the same as in ``mamlkit.engines.stage``; h is ``Patches`` here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mamlkit.engines import stage
from mamlkit.engines.stage import Layer

KERNEL, PADDING = 3, 1


class Patches(NamedTuple):
    """The 3x3 neighbourhoods of a chunk's images, and their statistics over a task's images."""

    p: Tensor  # [B, H, W, G, 9 C]
    mean: Tensor  # [G, 9 C]
    cov: Tensor  # [G, 9 C, 9 C], biased

    @classmethod
    def of(cls, x: Tensor, stride: int) -> Patches:
        """Return the patches of images [G, B, C, H, W], channel by channel."""
        columns = F.unfold(x.flatten(0, 1), KERNEL, padding=PADDING, stride=stride)  # [G B, 9 C, H W]
        side = (x.shape[3] - 1) // stride + 1
        columns = columns.view(*x.shape[:2], -1, side, columns.shape[2] // side)  # [G, B, 9 C, H, W]
        rows = columns.permute(0, 1, 3, 4, 2).flatten(1, 3)  # [G, B H W, 9 C]
        centred = rows - rows.mean(1, keepdim=True)
        cov = centred.transpose(1, 2) @ centred / rows.shape[1]
        return cls(columns.permute(1, 3, 4, 0, 2).contiguous(), rows.mean(1), cov)


class Half(NamedTuple):
    """Tensors that the backward pass needs from the forward pass."""

    cw: Tensor  # [G, F, 9 C] W C
    mean: Tensor  # [G, F] of z
    var: Tensor  # [G, F] of z, biased
    picked: Tensor  # [B, H', W', G, F]
    u: Tensor  # [B, H', W', G, F]


class Saved(NamedTuple):
    """Tensors that the tangent pass needs from the forward and backward pass."""

    cw: Tensor  # [G, F, 9 C]
    dw: Tensor  # [G, F, 9 C]
    r: Tensor  # [G, F]
    picked: Tensor  # [B, H', W', G, F]
    u: Tensor  # [B, H', W', G, F]
    du: Tensor  # [B, H', W', G, F]
    dgamma: Tensor  # [G, F]
    dbeta: Tensor  # [G, F]


class HalfTangent(NamedTuple):
    """Tensors that the backward tangent needs from the forward tangent."""

    sd: Tensor  # [G, F] of the standard deviation 1/r
    u: Tensor  # [B, H', W', G, F]


def forward(h: Patches, w: Tensor, layer: Layer) -> tuple[Half, Tensor]:
    """Forward pass: return the saved tensors and the output, for weights ``w`` [G, F, 9 C]."""
    cw = w @ h.cov
    mean, var = _times_mean(w, h), (w * cw).sum(2)
    picked, top = stage.pick_largest(_convolve(h, w), layer)
    u = (top - mean) * stage.inverse(var)
    return Half(cw, mean, var, picked, u), layer.activate(u)


def backward(half: Half, h: Patches, _: Tensor, dabove: Tensor, layer: Layer) -> tuple[Saved, None, Tensor]:
    """Backward pass: return saved tensors, None for the images, and dL/dw."""
    du, dgamma, dbeta = stage.through_activation(dabove, half.u, layer)
    r = stage.inverse(half.var)
    direct = _convolve_backward(h, du, half.picked, layer) - _row(dbeta) * h.mean.unsqueeze(1)
    dw = _row(r * layer.gamma) * (direct - _row(r * dgamma) * half.cw)
    return Saved(half.cw, dw, r, half.picked, half.u, du, dgamma, dbeta), None, dw


def forward_tangent(
    saved: Saved, inputs: tuple[Patches, Tensor], tangents: tuple[None, Tensor], layer: Layer
) -> tuple[HalfTangent, Tensor]:
    """Forward tangent: return the tangents of the saved tensors and of the output."""
    (h, _), (_, w_t) = inputs, tangents
    sd_t = saved.r * (saved.cw * w_t).sum(2)
    top_t = stage.pick(_convolve(h, w_t), saved.picked, layer)
    u_t = saved.r * (top_t - _times_mean(w_t, h) - saved.u * sd_t)
    return HalfTangent(sd_t, u_t), layer.through_leaky(layer.gamma * u_t, saved.u)


def backward_tangent(
    saved: Saved,
    half: HalfTangent,
    inputs: tuple[Patches, Tensor],
    tangents: tuple[None, Tensor],
    dabove_t: Tensor,
    *,
    layer: Layer,
) -> tuple[None, Tensor, Tensor, Tensor]:
    """Backward tangent: return None for the images, and the tangents of dL/dw, dL/dgamma and dL/dbeta."""
    (h, _), (_, w_t) = inputs, tangents
    du_t, dgamma_t, dbeta_t = stage.through_activation_tangent(saved, half.u, dabove_t, layer)
    direct = _convolve_backward(h, du_t, saved.picked, layer) - _row(dbeta_t) * h.mean.unsqueeze(1)
    by_variance = _row(dgamma_t - saved.r * half.sd * saved.dgamma) * saved.cw + _row(saved.dgamma) * (w_t @ h.cov)
    dw_t = _row(saved.r * layer.gamma) * (direct - _row(saved.r) * by_variance) - _row(saved.r * half.sd) * saved.dw
    return None, dw_t, dgamma_t, dbeta_t


def _convolve(h: Patches, w: Tensor) -> Tensor:
    """Return W P, [B, H, W, G, F], as one product of matrices per task; in memory the tasks come first."""
    z = torch.bmm(_rows(h.p), w.transpose(1, 2))  # [G, B H W, F]
    return z.view(-1, *h.p.shape[:3], z.shape[2]).permute(1, 2, 3, 0, 4)


def _convolve_backward(h: Patches, du: Tensor, picked: Tensor, layer: Layer) -> Tensor:
    dz = stage.unpool(du, picked, h.p.shape[1:3], layer)
    return torch.bmm(_rows(h.p).transpose(1, 2), _rows(dz)).transpose(1, 2)  # [G, F, 9 C]; the other order is slow


def _rows(x: Tensor) -> Tensor:
    return x.permute(3, 0, 1, 2, 4).flatten(1, 3)  # [B, H, W, G, C] -> [G, B H W, C]


def _times_mean(w: Tensor, h: Patches) -> Tensor:
    return torch.bmm(w, h.mean.unsqueeze(2)).squeeze(2)  # [G, F]


def _row(x: Tensor) -> Tensor:
    return x.unsqueeze(2)  # [G, F] -> [G, F, 1], to scale the rows of a weight
