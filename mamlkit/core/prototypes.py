"""Prototypical networks: classify a query image by the nearest class mean of the support set; there is no inner loop.

Axis letters: ``N`` way, ``S`` support images, ``Q`` query images, ``D`` numbers of an embedding, ``C`` channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace
from mamlkit.core.transforms import Params


def prototypes(
    problem: Problem, meta: MetaParams, buffers: Params, episode: Episode, step: StepConfig, *, n_way: int
) -> tuple[Tensor, InnerTrace]:
    r"""Return the query loss of one task, with the distances to the class means as logits, and a trace.

    .. math:: logits_{q,n} = -|f(query\_x_q) - c_n|^2, \quad c_n = mean_{s: support\_y_s = n} f(support\_x_s)

    Support and query images pass through the network together, so that with ``norm = "batch"`` the same statistics
    normalise both.

    Args:
        problem, meta, buffers: see ``mamlkit.core.inner_loop.adapt``; the outputs of the network are the embeddings,
            [B, D] for B images.
        episode: one task, without a task axis; every class has a support image.
        step: settings of a single step; ``norm`` selects the statistics for support and query images.
        n_way: N.

    Returns:
        loss: scalar in nats, with a graph to ``meta.model`` if gradients are enabled.
        trace: see ``InnerTrace``, with K = 1: no support loss (NaN), inner gradients of 0, and the same statistics
            for support and query images.

    Raises:
        InputError: ``step`` has more than one step; the embeddings are not [B, D].

    Source: Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", arXiv:1703.05175; their code
    also uses one pass for all images.
    """
    if step.loss_weights != (1.0,):
        raise InputError(f"loss_weights = {step.loss_weights} is not (1.0,); prototypes have no inner loop")
    images = pytree.tree_map(lambda support, query: torch.cat([support, query]), episode.support_x, episode.query_x)
    embeddings, stats = problem.forward(meta.model, buffers, images, 0, step.norm)
    if embeddings.dim() != 2:
        raise InputError(f"the network returns {list(embeddings.shape)}; embeddings [images, numbers] are needed")
    classes = torch.arange(n_way, device=embeddings.device)
    members = (episode.support_y == classes[:, None]).to(embeddings.dtype)  # [S] -> [N, S]
    support, query = embeddings.split([members.shape[1], len(embeddings) - members.shape[1]])
    means = members @ support / members.sum(1, keepdim=True)  # [N, S] [S, D] -> [N, D]
    logits = -(query[:, None] - means).square().sum(2)  # [Q, 1, D] - [N, D] -> [Q, N]
    loss = problem.cost(logits, episode.query_y)
    known, rows = logits.detach(), pytree.tree_map(lambda value: value[None], stats)  # [C] -> [1, C]
    return loss, InnerTrace(
        support_loss=torch.full_like(loss.detach()[None], torch.nan),
        query_loss=loss.detach()[None],
        query_metric=problem.score(known, episode.query_y)[None],
        query_logits=known,
        grad_norm=known.new_zeros(1, len(problem.adapted)),
        support_stats=rows,
        query_stats=rows,
    )
