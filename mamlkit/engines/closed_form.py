"""The loss of ``Conv4`` on a chunk of tasks, its gradient, and its Hessian-vector product, in closed form.

Two pure functions without autograd, written for compilation: ``gradient`` and ``hessian_product``. Each task of a chunk
has its own weights, packed into one flat vector ``theta``: the tensors one after the other, each [G, ...].

Axis letters: ``G`` tasks of the chunk, ``B`` images of each, ``N`` way, ``C`` channels, ``F`` filters, ``L`` = 4
stages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mamlkit.engines import first_stage, stage
from mamlkit.engines.first_stage import Patches
from mamlkit.engines.stage import Layer

STAGES: tuple[Any, ...] = (first_stage, stage, stage, stage)  # modules with the same functions and names


@dataclass(frozen=True)
class Shape:
    """The shapes and settings for which the two functions are compiled.

    Attributes:
        n_tasks, n_images, n_way: G, B (support or query images of a task) and N.
        channels, size: channels of the images; height and width.
        filters: F.
        pool: 2x2 max-pooling; without it the convolutions have stride 2, and a global mean precedes the head.
        dtype: ``"float32"`` or ``"float64"``.
        autocast: convolutions of the later stages in bfloat16.
    """

    n_tasks: int
    n_images: int
    n_way: int
    channels: int
    size: int
    filters: int
    pool: bool
    dtype: str
    autocast: bool = False

    @property
    def stride(self) -> int:
        """Stride of the convolutions."""
        return 1 if self.pool else 2

    @property
    def side(self) -> int:
        """Height and width of the head's input."""
        return self.size // 2 ** len(STAGES) if self.pool else 1

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the packed tensors of one task, by name, in order."""
        convs = {f"convs.{i}.weight": (self.filters, 3, 3, self.filters) for i in range(1, len(STAGES))}
        head = {"head.weight": (self.n_way, self.side**2 * self.filters), "head.bias": (self.n_way,)}
        return {"convs.0.weight": (self.filters, 9 * self.channels)} | convs | head

    @property
    def sizes(self) -> list[int]:
        """Numbers of each packed tensor, over all tasks."""
        return [self.n_tasks * math.prod(shape) for shape in self.tensors.values()]

    def unpack(self, theta: Tensor) -> list[Tensor]:
        """Return the tensors of a packed vector, each [G, ...], without a copy."""
        parts = torch.split(theta, self.sizes)
        return [part.view(self.n_tasks, *shape) for part, shape in zip(parts, self.tensors.values())]

    def layers(self, gamma: Tensor, beta: Tensor) -> list[Layer]:
        """Return the stages' settings for batch-norm weights and biases [L, F]."""
        return [Layer(*rows, self.pool, self.stride, self.autocast) for rows in zip(gamma, beta)]


class Gradient(NamedTuple):
    """The result of one pass; ``theta``, ``gamma`` and ``beta`` are derivatives of the loss with respect to them."""

    loss: Tensor  # [G]
    logits: Tensor  # [G, B, N]
    theta: Tensor  # packed
    gamma: Tensor  # [L, G, F]
    beta: Tensor  # [L, G, F]
    mean: Tensor  # [L, G, F] of z, without the convolutions' biases
    var: Tensor  # [L, G, F] of z, biased
    saved: tuple[Tensor, ...]  # for ``hessian_product``: every stage's Saved; features before the head; softmax


class HessianProduct(NamedTuple):
    """Tangents of the derivatives with respect to theta, gamma and beta."""

    theta: Tensor  # packed
    gamma: Tensor  # [L, G, F]
    beta: Tensor  # [L, G, F]


def gradient(shape: Shape, theta: Tensor, norms: tuple[Tensor, Tensor], patches: Patches, y: Tensor) -> Gradient:
    """Return the mean cross-entropy of each task, its gradient, and the tensors for ``hessian_product``.

    Args:
        shape: see ``Shape``.
        theta: packed weights.
        norms: [L, F] batch-norm weights and biases of this inner step.
        patches: patches of the images.
        y: [G, B] labels.

    Source: our own derivation.
    """
    *convs, head, bias = shape.unpack(theta)
    layers = shape.layers(*norms)
    h: list[Any] = [patches]
    halves: list[Any] = []
    for kind, w, layer in zip(STAGES, convs, layers):
        half, above = kind.forward(h[-1], w, layer)
        halves.append(half)
        h.append(above)
    features = _features(shape, h[-1])
    logits = torch.baddbmm(bias.unsqueeze(1), features, head.transpose(1, 2))
    log_softmax = logits.log_softmax(2)
    loss = -log_softmax.gather(2, y.unsqueeze(2)).mean((1, 2))
    dlogits = _dlogits(shape, log_softmax.exp(), y)

    dh = _features_backward(shape, torch.bmm(dlogits, head), h[-1])
    weights: list[Tensor] = []
    saved: list[Any] = []
    for kind, half, below, w, layer in reversed(list(zip(STAGES, halves, h, convs, layers))):
        kept, dh, dw = kind.backward(half, below, w, dh, layer)
        weights.insert(0, dw)
        saved.insert(0, kept)
    weights += [torch.bmm(dlogits.transpose(1, 2), features), dlogits.sum(1)]
    flat = (*(tensor for kept in saved for tensor in kept), features, log_softmax.exp())
    return Gradient(
        loss=loss,
        logits=logits,
        theta=_pack(weights),
        gamma=torch.stack([kept.dgamma for kept in saved]),
        beta=torch.stack([kept.dbeta for kept in saved]),
        mean=torch.stack([half.mean for half in halves]),
        var=torch.stack([half.var for half in halves]),
        saved=tuple(tensor.contiguous() for tensor in flat),  # compiled code needs the memory layout of its example
    )


def hessian_product(
    shape: Shape,
    theta: Tensor,
    norms: tuple[Tensor, Tensor],
    patches: Patches,
    y: Tensor,
    *,
    v: Tensor,
    saved: tuple[Tensor, ...],
) -> HessianProduct:
    """Return the tangent of ``gradient`` along ``v``: the Hessian times ``v``, and its mixed part for batch norm.

    Args:
        shape, theta, norms, patches, y: see ``gradient``.
        v: a direction, packed as ``theta``.
        saved: ``saved`` of ``gradient``'s result.

    Source: forward-over-reverse differentiation (Pearlmutter 1994); our own derivation.
    """
    *flat, features, softmax = saved
    *convs, head, _ = shape.unpack(theta)
    *convs_t, head_t, bias_t = shape.unpack(v)
    layers = shape.layers(*norms)
    kept = _unflatten(flat)

    h: list[Any] = [patches]
    h_t: list[Any] = [None]
    halves: list[Any] = []
    for kind, s, w, w_t, layer in zip(STAGES, kept, convs, convs_t, layers):
        half, above_t = kind.forward_tangent(s, (h[-1], w), (h_t[-1], w_t), layer)
        halves.append(half)
        h.append(layer.activate(s.u))
        h_t.append(above_t)
    features_t = _features(shape, h_t[-1])
    logits_t = torch.baddbmm(bias_t.unsqueeze(1), features, head_t.transpose(1, 2))
    logits_t = logits_t + torch.bmm(features_t, head.transpose(1, 2))
    dlogits = _dlogits(shape, softmax, y)
    dlogits_t = softmax * (logits_t - (softmax * logits_t).sum(2, keepdim=True)) / shape.n_images
    dhead_t = torch.bmm(dlogits_t.transpose(1, 2), features) + torch.bmm(dlogits.transpose(1, 2), features_t)

    dh_t = _features_backward(shape, torch.bmm(dlogits_t, head) + torch.bmm(dlogits, head_t), h[-1])
    weights, tables = [dhead_t, dlogits_t.sum(1)], list[list[Tensor]]()
    for i in reversed(range(len(STAGES))):
        inputs, tangents = (h[i], convs[i]), (h_t[i], convs_t[i])
        dh_t, dw_t, *table = STAGES[i].backward_tangent(kept[i], halves[i], inputs, tangents, dh_t, layer=layers[i])
        weights.insert(0, dw_t)
        tables.insert(0, table)
    return HessianProduct(_pack(weights), *(torch.stack(table) for table in zip(*tables)))


def _unflatten(flat: list[Tensor]) -> list[Any]:
    kept: list[Any] = []
    first = 0
    for kind in STAGES:
        last = first + len(kind.Saved._fields)
        kept.append(kind.Saved(*flat[first:last]))
        first = last
    return kept


def _pack(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _dlogits(shape: Shape, softmax: Tensor, y: Tensor) -> Tensor:
    return (softmax - F.one_hot(y, shape.n_way)) / shape.n_images  # [G, B, N]


def _features(shape: Shape, h: Tensor) -> Tensor:
    h = h if shape.pool else h.mean((1, 2), keepdim=True)
    return h.permute(3, 0, 1, 2, 4).flatten(2)  # [B, H, W, G, F] -> [G, B, H W F]


def _features_backward(shape: Shape, d: Tensor, h: Tensor) -> Tensor:
    height, width = h.shape[1:3]
    if shape.pool:
        return d.view(*d.shape[:2], height, width, -1).permute(1, 2, 3, 0, 4)  # [G, B, H W F] -> [B, H, W, G, F]
    return (d / (height * width)).permute(1, 0, 2)[:, None, None].expand(h.shape)  # [G, B, F] -> [B, H, W, G, F]
