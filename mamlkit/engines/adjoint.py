"""The meta-gradient of ``Conv4`` from gradients and Hessian-vector products, without a graph.

With lambda_K = 0 and, for each inner step k from the last to the first,

    lambda <- lambda + loss_weights[k] dL_Q/dtheta_k+1        the query loss after the step
    d inner_lrs[:, k] = -<lambda, g_k>                        per tensor; g_k is the support gradient
    lambda <- lambda - H_k (inner_lrs[:, k] lambda)           H_k is the support Hessian; first order: no change

the final lambda is the derivative with respect to the start. For batch norm's weights and biases it is the query loss's
derivative minus the mixed part of the same Hessian product.

Letters as in ``mamlkit.engines.closed_form``; ``T`` tasks of the meta-batch, ``K`` inner steps, ``D`` packed numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.batch_norm import BatchStats
from mamlkit.core.chunks import Spread, side_by_side, split
from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import check_scored
from mamlkit.core.networks import Conv4
from mamlkit.core.outer_loop import MetaStep, fold_batch_stats
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace, Stats
from mamlkit.core.transforms import Params
from mamlkit.engines import packing
from mamlkit.engines.closed_form import STAGES, Gradient, Shape
from mamlkit.engines.first_stage import Patches
from mamlkit.engines.inner_step import BackStep, InnerStep


class Functions(NamedTuple):
    """The functions of ``mamlkit.engines.inner_step`` for the shapes of a chunk's support and query images."""

    support: Callable[..., InnerStep]
    query: Callable[..., InnerStep]
    back: Callable[..., BackStep]  # through a support pass


Make = Callable[[Shape, Shape], Functions]


class Step(NamedTuple):
    """The tensors of one inner step of a chunk that the backward pass needs."""

    theta: Tensor  # [D] before the step
    norms: tuple[Tensor, Tensor]  # [L, F] each
    support: Gradient  # ``theta`` [0] and ``saved`` () if the backward pass recomputes both
    query: Gradient | None
    grad_norms: Tensor  # [P, G] of each packed tensor's support gradient


class Sums(NamedTuple):
    """Derivatives of a chunk's summed loss."""

    theta: Tensor  # [D]
    rates: Tensor  # [P, K]
    gamma: Tensor  # [K, L, F]
    beta: Tensor  # [K, L, F]


class Chunk:
    """Tasks that are computed at once: their shape, their data, and the functions for this shape."""

    def __init__(self, problem: Problem, meta: MetaParams, batch: Episode, step: StepConfig, *, make: Make) -> None:
        self.meta, self.batch, self.settings = meta, batch, step
        self.names = problem.adapted
        network = cast(Conv4, problem.network)
        self.shape, query = (packing.shape_of(network, meta.model, x) for x in (batch.support_x, batch.query_x))
        self.functions = make(self.shape, query)
        self.support = Patches.of(batch.support_x, self.shape.stride), batch.support_y
        self.query = Patches.of(batch.query_x, self.shape.stride), batch.query_y
        self.rates = packing.rates(self.shape, meta.inner_lrs, self.names, len(step.loss_weights))  # [K, P]

    def adapt(self, *, keep: bool) -> list[Step]:
        """Take the inner steps; with ``keep``, keep the tensors that the backward pass would otherwise recompute."""
        theta, steps = packing.pack(self.shape, self.meta.model), []
        for k, weight in enumerate(self.settings.loss_weights):
            norms = packing.norms(self.meta.model, k)
            support, after, grad_norms = self.functions.support(theta, norms, *self.support, rates=self.rates[k])
            query = None
            if weight != 0 or self.settings.track_query:
                passed = self.functions.query(after, norms, *self.query, rates=self.rates[k])
                query = passed.gradient._replace(saved=())
            if not self.settings.second_order:
                support = support._replace(saved=())
            elif not keep:
                support = support._replace(theta=theta.new_empty(0), saved=())
            steps.append(Step(theta, norms, support, query, grad_norms))
            theta = after
        return steps

    def differentiate(self, steps: list[Step]) -> Sums:
        """Backward pass: go through the steps from the last to the first."""
        adjoint = torch.zeros_like(steps[0].theta)
        rates, gammas, betas = [], [], []
        for k, step in reversed(list(enumerate(steps))):
            gamma, beta = torch.zeros_like(step.norms[0]), torch.zeros_like(step.norms[1])
            if step.query is not None:
                weight = self.settings.loss_weights[k]
                adjoint = torch.add(adjoint, step.query.theta, alpha=weight)
                gamma, beta = weight * step.query.gamma.sum(1), weight * step.query.beta.sum(1)
            if self.settings.second_order:
                back = self._back(step, self.rates[k], adjoint)
                adjoint, gamma, beta = back.adjoint, gamma + back.gamma, beta + back.beta
                rates.append(back.rates)
            else:
                rates.append(-packing.products(self.shape, adjoint, step.support.theta))
            gammas.append(gamma)
            betas.append(beta)
        stacks = (torch.stack(rows[::-1], dim) for rows, dim in ((rates, 1), (gammas, 0), (betas, 0)))
        return Sums(adjoint, *stacks)

    def _back(self, step: Step, rates: Tensor, adjoint: Tensor) -> BackStep:
        support, arguments = step.support, (step.theta, step.norms, *self.support)
        if not support.theta.numel():
            support = self.functions.support(*arguments, rates=rates).gradient
        return self.functions.back(*arguments, rates=rates, adjoint=adjoint, slope=support.theta, saved=support.saved)

    def gradient(self, sums: Sums) -> MetaParams:
        """Return the derivatives by name; the derivative of a bias before batch norm is exactly 0."""
        model = {name: torch.zeros_like(value) for name, value in self.meta.model.items()}
        model |= packing.unpack_sum(self.shape, sums.theta)
        model |= packing.unpack_norms(self.meta.model, sums.gamma, sums.beta)
        inner_lrs = torch.zeros_like(self.meta.inner_lrs)
        for name, row in zip(self.shape.tensors, sums.rates):
            if name in self.names:
                inner_lrs[self.names.index(name), : len(row)] = row
        return MetaParams(model, {"inner_lrs": inner_lrs})

    def loss(self, steps: list[Step]) -> Tensor:
        """Return the weighted sum of each task's query losses, [G]."""
        pairs = zip(self.settings.loss_weights, steps)
        return torch.stack([weight * step.query.loss for weight, step in pairs if step.query is not None]).sum(0)

    def trace(self, steps: list[Step]) -> InnerTrace:
        """Return the trace, with a leading [G]."""
        support, query = [step.support for step in steps], [step.query for step in steps]
        last = next(q for q in reversed(query) if q is not None)
        absent = torch.full_like(last.loss, torch.nan)
        hits = [absent if q is None else _accuracy(q.logits, self.batch.query_y) for q in query]
        packed = dict(zip(self.shape.tensors, torch.stack([step.grad_norms for step in steps], 2)))  # [P, G, K]
        zero = torch.zeros_like(next(iter(packed.values())))
        return InnerTrace(
            support_loss=torch.stack([s.loss for s in support], 1),
            query_loss=torch.stack([absent if q is None else q.loss for q in query], 1),
            query_metric=torch.stack(hits, 1),
            query_logits=last.logits,
            grad_norm=torch.stack([packed.get(name, zero) for name in self.names], 2),  # [G, K, n_adapted]
            support_stats=self._stats(support, self.batch.support_x),
            query_stats=self._stats(query, self.batch.query_x),
        )

    def _stats(self, passes: Sequence[Gradient | None], images: Tensor) -> Stats:
        absent = images.new_full((len(STAGES), self.shape.n_tasks, self.shape.filters), torch.nan)
        means, variances = (
            torch.stack([absent if p is None else getattr(p, name) for p in passes], 2) for name in ("mean", "var")
        )  # [L, G, K, F]
        stats, side = {}, images.shape[-1]
        for i, (mean, var) in enumerate(zip(means, variances)):
            side = side if self.shape.pool else -(-side // 2)
            n = images.shape[1] * side**2
            side = side // 2 if self.shape.pool else side
            stats[f"norms.{i}"] = BatchStats(mean + self.meta.model[f"convs.{i}.bias"], var * (n / max(n - 1, 1)))
        return stats


def _accuracy(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.argmax(-1) == y).to(logits.dtype).mean(-1)  # [G, Q, N] -> [G]


def meta_gradient(
    problem: Problem,
    meta: MetaParams,
    buffers: Params,
    batch: Episode,
    step: StepConfig,
    *,
    make: Make,
    tasks_per_chunk: int = 1,
    keep: bool = True,
    spread: Spread = side_by_side,
) -> MetaStep:
    """Return the result of ``mamlkit.core.outer_loop.meta_gradient`` for a ``Conv4`` and the cross-entropy.

    Args:
        problem, meta, buffers, batch, step: see there; query passes are normalised by their own statistics.
        make: returns the functions for the shapes of a chunk's support and query images.
        tasks_per_chunk: tasks computed at once.
        keep: keep the tensors of each inner step for its second derivative; otherwise recompute them, so that each step
            adds only its weights to the memory.
        spread: the way to compute the chunks, see ``mamlkit.core.chunks``.

    Raises:
        InputError: see ``mamlkit.core.inner_loop.adapt``.
    """
    problem.need_rule.check(meta.rule, problem.adapted, len(step.loss_weights))
    check_scored(step)
    n_tasks = batch.support_x.shape[0]

    def differentiate(own: Problem, tasks: Episode) -> tuple[MetaParams, Tensor, InnerTrace]:
        chunk = Chunk(own, meta, tasks, step, make=make)
        steps = chunk.adapt(keep=keep)
        return chunk.gradient(chunk.differentiate(steps)), chunk.loss(steps), chunk.trace(steps)

    with torch.no_grad():
        chunks = spread(differentiate, problem, split(batch, tasks_per_chunk), calls_network=False)
        gradients, losses, traces = zip(*chunks)
        trace = pytree.tree_map(lambda *chunks: torch.cat(chunks), *traces)  # -> [T, ...]
        return MetaStep(
            gradient=pytree.tree_map(lambda *parts: sum(parts) / n_tasks, *gradients),
            loss=torch.cat(losses).mean(),
            trace=trace,
            buffers=fold_batch_stats(buffers, trace, step),
        )
