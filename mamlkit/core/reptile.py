"""Reptile: move the start towards the end of the inner loop, without a derivative through it.

Axis letters: ``K`` inner steps, ``S`` support images, ``Q`` query images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode, count
from mamlkit.core.inner_loop import advance, begin, check_scored
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace, stack_rows
from mamlkit.core.transforms import Params


def reptile(
    problem: Problem, meta: MetaParams, buffers: Params, episode: Episode, step: StepConfig
) -> tuple[Tensor, InnerTrace]:
    """Adapt to all images of one task, and return a loss whose derivative points from theta_K back to the start.

        d loss / d theta_0 = theta_0 - theta_K,    value of the loss: query loss at theta_K

    Each inner step takes the next minibatch, see ``minibatches``. The loss is a training loss, because the inner loop
    also adapts to the query images. Adam's step does not depend on the gradient's scale, so the paper's division by the
    inner rate is left out. Parameters that the inner loop does not update stay unchanged.

    Args:
        problem, meta, buffers: see ``mamlkit.core.inner_loop.adapt``.
        episode: one task, without a task axis.
        step: see ``mamlkit.core.inner_loop.inner_loop``; ``second_order`` is ignored.

    Returns:
        loss: scalar in nats, with a graph to ``meta.model``.
        trace: see ``InnerTrace``; its support passes are the passes of the minibatches.

    Raises:
        InputError: see ``mamlkit.core.inner_loop.adapt``.

    Source: Nichol, Achiam and Schulman 2018, "On First-Order Meta-Learning Algorithms", arXiv:1803.02999: the version
    with a batch of tasks, and ``theta_0 - theta_K`` given to Adam.
    """
    check_scored(step)
    parts, losses, rows = minibatches(episode), [], []
    with torch.no_grad():
        params, state = begin(problem, meta, step)
        for k in range(len(step.loss_weights)):
            part = parts[k % len(parts)]
            params, state, loss, row = advance(problem, meta, buffers, part, step, k=k, params=params, state=state)
            losses.append(loss)
            rows.append(row)
        way = {name: meta.model[name] - params[name] for name in problem.adapted}
    # Only the derivative of this sum counts.
    slope = sum((meta.model[name] * back).sum() for name, back in way.items())
    return sum(losses) + (slope - slope.detach()), stack_rows(rows)  # type: ignore[union-attr]


def minibatches(episode: Episode) -> list[Episode]:
    """Return a copy of a task for each minibatch, with the minibatch in place of the support set.

    The first minibatch is the support set. The query images are dealt in turn to the other minibatches, so that these
    are about as large; if the images are ordered by class, each minibatch has about as many images of every class.

    Args:
        episode: one task, [S, ...] and [Q, ...].
    """
    support, query = (episode.support_x, episode.support_y), (episode.query_x, episode.query_y)
    n = max(1, count(query) // count(support))
    dealt = [pytree.tree_map(lambda value, i=i: value[i::n], query) for i in range(n)]
    return [episode._replace(support_x=x, support_y=y) for x, y in (support, *dealt)]
