"""The result of a run: an accuracy with its interval, and everything needed to reproduce it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from mamlkit.core.episodes import EpisodeSampler
from mamlkit.runs.folder import RunFolder
from mamlkit.training.evaluation import Evaluation, evaluate_norms
from mamlkit.training.history import EpochRecord, best_epochs


def conclude(
    folder: RunFolder,
    history: Sequence[EpochRecord],
    sampler: EpisodeSampler,
    *,
    evaluate: Callable[..., dict[str, Evaluation]] = evaluate_norms,
) -> tuple[list[int], dict[str, Evaluation]]:
    """Test the ensemble of a run's best epochs, and write its result.

    Args:
        folder: the run.
        history: its epochs.
        sampler: episodes of the test split.
        evaluate: called as ``evaluate_norms(learners, sampler, episodes)``, for a progress bar.

    Returns:
        The tested epochs, and the evaluations by batch-norm statistics.

    Raises:
        InputError: a checkpoint is missing or damaged.

    Writes: ``result.json``.
    """
    epochs, begin = best_epochs(history, folder.config.ensemble), time.perf_counter()
    evaluations = evaluate(folder.learners(epochs, sampler.image_shape), sampler, folder.config.test_episodes)
    seconds = time.perf_counter() - begin
    folder.finish(result(folder, history, evaluations, tested_epochs=epochs, test_seconds=seconds))
    return epochs, evaluations


def result(
    folder: RunFolder,
    history: Sequence[EpochRecord],
    evaluations: dict[str, Evaluation],
    *,
    tested_epochs: Sequence[int],
    test_seconds: float,
) -> dict[str, Any]:
    """Return the result of a run as JSON values.

    Args:
        folder: the run.
        history: its epochs.
        evaluations: on the test split, by batch-norm statistics; the configuration's ``norm_eval`` selects the
            headline.
        tested_epochs: the epochs whose mean logits were evaluated.
        test_seconds: duration of the test.

    Returns:
        ``accuracy`` and ``ci95`` are fractions. ``ci95`` is half the width of the 95 % interval over ``episodes`` of
        one run; it says nothing about other seeds. ``minutes`` is wall-clock time for training, validation and test.
    """
    config = folder.config
    headline = evaluations[config.norm_eval]
    seconds = sum(record.seconds for record in history) + test_seconds
    return {
        "dataset": config.dataset,
        "recipe": folder.about["recipe"],
        "n_way": config.n_way,
        "k_shot": config.k_shot,
        "accuracy": headline.accuracy,
        "ci95": headline.ci95,
        "episodes": headline.episodes,
        "seeds": [config.seed],
        "iterations": sum(len(record.iterations) for record in history),
        "minutes": seconds / 60,
        "nonfinite": sum(record.nonfinite for record in history),
        "tested_epochs": list(tested_epochs),
        "evaluations": {norm: dataclasses.asdict(evaluation) for norm, evaluation in evaluations.items()},
        "curves": _curves(history),
        "config": config.to_dict(),
        "versions": folder.about["versions"],
        "data_sha256": folder.about["data_sha256"],
        "command": folder.about["command"],
    }


def _curves(history: Sequence[EpochRecord]) -> dict[str, list[Any]]:
    """Return one value for each epoch."""
    norms = [[i.grad_norm for i in record.iterations if math.isfinite(i.grad_norm)] for record in history]
    return {
        "iteration": [record.iterations[-1].iteration for record in history],
        "minutes": [sum(r.seconds for r in history[: i + 1]) / 60 for i in range(len(history))],
        "train_loss": [record.train_loss for record in history],
        "train_accuracy": [record.train_accuracy for record in history],
        "val_accuracy": [record.validation.accuracy for record in history],
        "val_ci95": [record.validation.ci95 for record in history],
        "grad_norm_median": [sorted(row)[len(row) // 2] if row else None for row in norms],
        "grad_norm_max": [max(row, default=None) for row in norms],
    }
