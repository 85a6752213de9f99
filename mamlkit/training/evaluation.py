"""Evaluate a meta-learner, or an ensemble of its epochs, on fixed episodes, with a 95 % interval.

Axis letters: ``E`` episodes, ``M`` normalisations, ``T`` tasks at once, ``Q`` query images, ``N`` way.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode, count
from mamlkit.core.errors import InputError, check_choice
from mamlkit.core.metrics import check_metric
from mamlkit.core.problem import Problem
from mamlkit.core.randomness import drawn_from
from mamlkit.engines.graph import EVALUATED_AT_ONCE
from mamlkit.training.learner import MetaLearner
from mamlkit.training.parallel import ALONE, Ranks
from mamlkit.training.prefetch import Sampler, draw, prefetch

NORMS = ("batch", "running")
Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True)
class Evaluation:
    """Accuracy and loss on fixed episodes, not rounded.

    Attributes:
        accuracy: mean over episodes, fraction in [0, 1]; NaN for a regression.
        ci95: half the width of its 95 % interval over episodes.
        loss: mean query loss, nats for a classification.
        episodes: number of episodes.
        norm: ``"batch"`` (transductive: the query set's own statistics) or ``"running"`` (recorded statistics: a
            prediction does not depend on the other query images).
    """

    accuracy: float
    ci95: float
    loss: float
    episodes: int
    norm: str


def mean_ci95(values: Tensor) -> tuple[float, float]:
    """Return the mean of ``values`` [E] and half the width of its 95 % interval, 1.96 * sd / sqrt(E).

    Both are computed on the CPU in double precision. The mean uses the exact sum and does not depend on the order.

    >>> mean, half = mean_ci95(torch.tensor([0.5, 0.75]))
    >>> mean, round(half, 6)
    (0.625, 0.244996)
    """
    exact = values.cpu().double()
    try:
        mean = math.fsum(exact.tolist()) / len(exact)
    except (OverflowError, ValueError):  # the sum overflows, or has both infinities
        mean = float(exact.mean())
    half = Z95 * float(exact.std()) / math.sqrt(len(exact)) if len(exact) > 1 else math.nan
    return mean, half


def evaluate(
    learners: Sequence[MetaLearner],
    sampler: Sampler,
    episodes: int,
    *,
    norm: str | None = None,
    on_episodes: Callable[[int], None] | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Return the result of ``evaluate_norms`` for one normalisation; default: the configuration's ``norm_eval``."""
    norms = [norm] if norm else [learner.config.norm_eval for learner in learners[:1]]
    [evaluation] = evaluate_norms(
        learners, sampler, episodes, norms=norms, on_episodes=on_episodes, ranks=ranks
    ).values()
    return evaluation


def evaluate_norms(
    learners: Sequence[MetaLearner],
    sampler: Sampler,
    episodes: int,
    *,
    norms: Sequence[str] = NORMS,
    on_episodes: Callable[[int], None] | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, Evaluation]:
    """Adapt every learner separately to each episode, and evaluate the mean of their logits, by normalisation.

    Args:
        learners: one learner, or an ensemble with the same configuration.
        sampler: the source of episodes ``0 .. episodes - 1``.
        episodes: E, at least 2.
        norms: statistics of the query pass, ``"batch"`` or ``"running"``.
        on_episodes: called with the number of newly finished episodes, for a progress bar.
        ranks: the processes over which the episodes are split; each process returns the evaluation of all episodes.

    Raises:
        InputError: there is no learner, there are fewer than 2 episodes, or a norm is unknown.

    Source: the mean of logits over epochs is from the authors' code; the paper only says that the best three epochs
    form an ensemble (section 4.2).
    """
    if not learners:
        raise InputError("learners is empty; one or more are needed")
    if episodes < 2:
        raise InputError(f"episodes = {episodes} gives no interval; 2 or more are allowed")
    for norm in norms:
        check_choice("norm", norm, NORMS)
    first_one, at_once = learners[0], learners[0].config.tasks_per_chunk or EVALUATED_AT_ONCE
    may_draw = first_one.problem.may_draw
    chunk = at_once * (1 if may_draw else torch.get_num_threads())
    # Whole chunks: with any number of processes, an episode is in the same chunk and has the same bits.
    shares = ranks.share(math.ceil(episodes / at_once))
    mine = range(shares.start * at_once, min(shares.stop * at_once, episodes))
    # Accuracies and losses by normalisation, on the CPU; 0 for the episodes of other processes.
    scores = torch.zeros(len(norms), 2, episodes, dtype=torch.float64)
    with prefetch(lambda first: draw(sampler, first, min(chunk, mine.stop - first)), mine[::chunk]) as drawn:
        for first, batch in zip(mine[::chunk], map(first_one.to_device, drawn)):
            numbers = first_one.config.seed, first
            with drawn_from(*numbers, device=first_one.device) if may_draw else contextlib.nullcontext():
                answers = [learner.query_logits(batch, norms) for learner in learners]
                outputs = pytree.tree_map(_mean, *answers)  # [M, T, Q, ...]
                scores[:, :, first : first + count(batch)] = _scores(first_one.problem, outputs, batch, len(norms))
            if on_episodes is not None:
                on_episodes(count(batch))
    [total] = ranks.total([scores])
    evaluations = {}
    for norm, table in zip(norms, total):
        (accuracy, half), (loss, _) = map(mean_ci95, table)
        evaluations[norm] = Evaluation(accuracy, half, loss, episodes, norm)
    return evaluations


def _mean(*each: Tensor) -> Tensor:
    if len(each) > 1 and not each[0].is_floating_point():
        found = str(each[0].dtype).removeprefix("torch.")
        raise InputError(f"the network returns {found}, which has no mean over an ensemble; ensemble = 1 is allowed")
    return torch.stack(each).mean(0) if len(each) > 1 else each[0]


@torch.no_grad()
def _scores(problem: Problem, outputs: Any, batch: Episode, n_norms: int) -> Tensor:
    """Return metrics and losses, [M, 2, T] on the CPU, of outputs [M, T, Q, ...]."""
    metrics, losses = [], []
    exact, exact_y = _exact(outputs), _exact(batch.query_y)  # one transfer from the device for all tasks
    for m, t in itertools.product(range(n_norms), range(count(batch))):
        answer, target = itemgetter((m, t)), itemgetter(t)
        losses.append(problem.cost(pytree.tree_map(answer, outputs), pytree.tree_map(target, batch.query_y)))
        metrics.append(problem.score(pytree.tree_map(answer, exact), pytree.tree_map(target, exact_y)))
    check_metric(problem.metric, torch.stack(metrics))
    table = torch.stack([torch.stack(metrics), torch.stack(losses).cpu()])  # [2, M T]
    return table.reshape(2, n_norms, -1).transpose(0, 1)


def _exact(tree: Any) -> Any:
    """Return tensors on the CPU, floating-point tensors in double precision."""
    return pytree.tree_map(lambda x: x.cpu().double() if x.is_floating_point() else x.cpu(), tree)
