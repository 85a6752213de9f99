"""What a training has come to: the best epochs, and means over the steps that were taken."""

from __future__ import annotations

import math

from mamlkit import EpochRecord, Evaluation
from mamlkit.training.history import Iteration, best_epochs


def epoch(number: int, accuracy: float, loss: float = 1.0, finite: tuple[bool, ...] = (True,)) -> EpochRecord:
    iterations = tuple(
        Iteration(i, float(i), i / 10, 1.0, (0.1,), second_order=True, outer_lr=1e-3, finite=done)
        for i, done in enumerate(finite, 1)
    )
    return EpochRecord(number, iterations, Evaluation(accuracy, 0.1, loss, 4, "batch"), 1.0)


def test_equally_many_right_answers_are_equal_whatever_the_last_bit_of_their_mean() -> None:
    history = [epoch(1, 0.3), epoch(2, 0.1 + 0.2), epoch(3, 0.2)]
    assert history[1].validation.accuracy > history[0].validation.accuracy
    assert best_epochs(history, 2) == [1, 2]


def test_of_a_regression_the_lowest_loss_is_the_best_however_small() -> None:
    history = [epoch(1, math.nan, 3e-13), epoch(2, math.nan, 1e-13), epoch(3, math.nan, 2e-13)]
    assert best_epochs(history, 3) == [2, 3, 1]


def test_steps_that_were_not_taken_do_not_count_in_the_means() -> None:
    record = epoch(1, 0.5, finite=(True, False, True))
    assert record.nonfinite == 1
    assert record.train_loss == 2.0
    assert record.train_accuracy == 0.2
    assert math.isnan(epoch(1, 0.5, finite=(False,)).train_loss)
