"""What happened in a training: meta-iterations and epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mamlkit.training.evaluation import Evaluation


@dataclass(frozen=True)
class Iteration:
    """One meta-iteration.

    Attributes:
        iteration: from 1 over the whole run.
        loss: meta-loss, nats.
        accuracy: of the query sets after the last inner step, fraction in [0, 1]; the problem's metric, if it has one
            of its own.
        grad_norm: l2 norm of the whole meta-gradient of what Adam moves, before any clamp or clip.
        inner_grad_norms: [K] l2 norm of the support gradient at each inner step, mean over tasks.
        second_order: whether the inner gradient was differentiated through.
        outer_lr: Adam's rate.
        finite: False where the meta-gradient was not, and the step was not taken.
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
        epoch: epochs done, from 1.
        iterations: every meta-iteration of the epoch.
        validation: on the fixed validation episodes after the epoch.
        seconds: wall-clock time of training and validation.
    """

    epoch: int
    iterations: tuple[Iteration, ...]
    validation: Evaluation
    seconds: float

    @property
    def nonfinite(self) -> int:
        """Number of steps that were not taken because the meta-gradient was not finite."""
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
    """Return the ``n`` epochs with the best validation accuracy, best first; of equals the earlier one.

    Where there is no accuracy, as in a regression, the lowest loss is the best.
    """
    ranked = sorted(history, key=lambda record: -_rank(record.validation))
    return [record.epoch for record in ranked[:n]]


def _rank(evaluation: Evaluation) -> float:
    if math.isnan(evaluation.accuracy):
        return -evaluation.loss
    return round(evaluation.accuracy, 12)  # equally many right answers are equal, whatever the last bit of their mean


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
