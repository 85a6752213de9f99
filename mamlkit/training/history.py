"""The history of a training: meta-iterations and epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mamlkit.training.evaluation import Evaluation


@dataclass(frozen=True)
class Iteration:
    """One meta-iteration.

    Attributes:
        iteration: number of the meta-iteration, from 1 over the whole run.
        loss: meta-loss, nats.
        accuracy: accuracy on the query sets after the last inner step, fraction in [0, 1]; or the problem's own metric.
        grad_norm: l2 norm of the meta-gradient of all tensors that Adam updates, before any clamp or clip.
        inner_grad_norms: [K] l2 norm of the support gradient at each inner step, mean over tasks.
        second_order: whether the derivative went through the inner gradient.
        outer_lr: Adam's rate.
        finite: False if the meta-gradient was not finite, and the step was skipped.
    """

    iteration: int
    loss: float
    accuracy: float
    grad_norm: float
    inner_grad_norms: tuple[float, ...]
    second_order: bool
    outer_lr: float
    finite: bool


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        iterations: every meta-iteration of the epoch.
        validation: evaluation on the fixed validation episodes after the epoch.
        seconds: wall-clock time of training and validation.
        largest_inner_grad_norms: [K][n_adapted] largest l2 norm of each tensor's support gradient at each inner step,
            over all tasks of the epoch. NaN is left out, and infinity counts as the largest number of the precision.
            Empty in runs of earlier versions.
    """

    epoch: int
    iterations: tuple[Iteration, ...]
    validation: Evaluation
    seconds: float
    largest_inner_grad_norms: tuple[tuple[float, ...], ...] = ()

    @property
    def nonfinite(self) -> int:
        """Number of steps that were skipped because the meta-gradient was not finite."""
        return sum(not iteration.finite for iteration in self.iterations)

    @property
    def train_loss(self) -> float:
        """Mean meta-loss of the steps taken, nats."""
        return _mean([iteration.loss for iteration in self.iterations if iteration.finite])

    @property
    def train_accuracy(self) -> float:
        """Mean query accuracy of the steps taken."""
        return _mean([iteration.accuracy for iteration in self.iterations if iteration.finite])


def best_epochs(history: Sequence[EpochRecord], n: int) -> list[int]:
    """Return the ``n`` epochs with the best validation accuracy, best first; among equals, the earlier epoch first.

    Without an accuracy, as in a regression, the lowest loss is the best.
    """
    ranked = sorted(history, key=lambda record: -_rank(record.validation))
    return [record.epoch for record in ranked[:n]]


def _rank(evaluation: Evaluation) -> float:
    if math.isnan(evaluation.accuracy):
        return -evaluation.loss
    return round(evaluation.accuracy, 12)  # equal numbers of correct answers rank equally, despite rounding


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
