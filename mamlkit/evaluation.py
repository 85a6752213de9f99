"""Measure a meta-learner, or an ensemble of its epochs, on fixed episodes, with a 95 % interval.

Axis letters: ``E`` episodes, ``T`` tasks at once, ``Q`` query images, ``N`` way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mamlkit.episodes import Episode, check_choice
from mamlkit.errors import InputError
from mamlkit.learner import MetaLearner
from mamlkit.parallel import ALONE, Ranks
from mamlkit.prefetch import prefetch

TASKS_AT_ONCE = 4
Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution


class Sampler(Protocol):
    """What episodes are drawn from: see ``mamlkit.episodes.EpisodeSampler``."""

    def batch(self, first_index: int, n_tasks: int) -> Episode:
        """Return episodes ``first_index .. first_index + n_tasks - 1`` with a leading [T]."""


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on fixed episodes.

    Attributes:
        accuracy: mean over episodes, fraction in [0, 1]; NaN for a regression.
        ci95: half the width of its 95 % interval over episodes.
        loss: mean query loss, nats for a classification.
        episodes: how many.
        norm: ``"batch"`` (transductive: the query set is normalised by itself) or ``"running"`` (recorded statistics:
            a prediction does not depend on the other query images).
    """

    accuracy: float
    ci95: float
    loss: float
    episodes: int
    norm: str


def mean_ci95(values: Tensor) -> tuple[float, float]:
    """Return the mean of ``values`` [E] and half the width of its 95 % interval, 1.96 * sd / sqrt(E).

    >>> mean_ci95(torch.tensor([0.5, 0.7]))
    (0.6, 0.195996)
    """
    half = Z95 * float(values.double().std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return round(float(values.double().mean()), 6), round(half, 6)


def evaluate(
    learners: Sequence[MetaLearner],
    sampler: Sampler,
    episodes: int,
    *,
    norm: str | None = None,
    on_episodes: Callable[[int], None] | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Adapt every learner to each episode by itself, and score the mean of their logits.

    Args:
        learners: one, or an ensemble of equal configuration.
        sampler: where episodes ``0 .. episodes - 1`` are drawn from.
        episodes: E, at least 2.
        norm: statistics of the query pass; default: the configuration's ``norm_eval``.
        on_episodes: called with the number of episodes just done, for a progress bar.
        ranks: the processes over which the episodes are split; each returns the evaluation of all.

    Raises:
        InputError: there is no learner, fewer than 2 episodes, or no such norm.

    Pure: no learner is changed. Source: the mean of logits over epochs is the authors' code's; the paper only says
    that the best three epochs form an ensemble (section 4.2).
    """
    if not learners:
        raise InputError("learners is empty; one or more are needed")
    if episodes < 2:
        raise InputError(f"episodes = {episodes} gives no interval; 2 or more are allowed")
    norm = norm or learners[0].config.norm_eval
    check_choice("norm", norm, ("batch", "running"))
    chunk = learners[0].config.tasks_per_chunk or TASKS_AT_ONCE
    mine = ranks.share(episodes)
    scores = torch.zeros(2, episodes, dtype=torch.float64)  # accuracies and losses; 0 where another process has them
    with prefetch(lambda first: sampler.batch(first, min(chunk, mine.stop - first)), mine[::chunk]) as drawn:
        for first, batch in zip(mine[::chunk], map(learners[0].to_device, drawn)):
            logits = torch.stack([learner.query_logits(batch, norm) for learner in learners]).mean(0)  # [T, Q, N]
            done = slice(first, first + len(logits))
            scores[0, done] = _accuracies(logits, batch.query_y)
            scores[1, done] = torch.stack([learners[0].loss_fn(row, y) for row, y in zip(logits, batch.query_y)])
            if on_episodes is not None:
                on_episodes(len(logits))
    [(accuracies, losses)] = ranks.total([scores])
    accuracy, ci95 = mean_ci95(accuracies)
    loss, _ = mean_ci95(losses)
    return Evaluation(accuracy, ci95, loss, episodes, norm)


def _accuracies(logits: Tensor, y: Tensor) -> Tensor:
    if y.is_floating_point():
        return torch.full((len(y),), torch.nan)
    return (logits.argmax(-1) == y).double().mean(1)  # [T, Q] -> [T]
