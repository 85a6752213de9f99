"""Grids of runs made up for the tests of the report: real folders, whose numbers nobody had to train for."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mamlkit.core.config import Config
from mamlkit.core.system.versions import versions
from mamlkit.datasets import load
from mamlkit.runs.folder import RunFolder
from mamlkit.runs.results import result
from mamlkit.study.reproduction.cell import RECORD, RUN, folder_of
from mamlkit.study.reproduction.plan import Cell, Plan, make_plan
from mamlkit.training.evaluation import Evaluation
from mamlkit.training.history import EpochRecord, Iteration, best_epochs
from mamlkit.training.trainer import Trainer

glyphs, these_versions = (functools.cache(function) for function in (lambda: load("glyphs"), versions))
Accuracy = Callable[[int, int, int], float]  # from number of the setting, seed, epoch


def rising(setting: int, seed: int, epoch: int) -> float:
    """Return an accuracy that rises; each setting is 2 points above the one before, each seed 1 point."""
    return 0.6 + 0.02 * setting + 0.01 * seed + 0.01 * epoch


def make_grid(
    folder: Path,
    table: str = "omniglot-ablation",
    *,
    seeds: tuple[int, ...] = (0, 1),
    accuracy: Accuracy = rising,
    scale: str = "smoke",
    dataset: str = "glyphs",
    **parameters: Any,
) -> Plan:
    """Write a grid whose runs are all done; the test accuracy is that of the last epoch.

    Args:
        folder: of the grid.
        table, seeds, scale, parameters: of the plan.
        accuracy: in validation.
        dataset: what the plan says; the pictures are glyphs.
    """
    plan = make_plan(table, scale, "glyphs", seeds, parameters)
    settings = tuple({**s, "config": {**s["config"], "dataset": dataset, "device": "cpu"}} for s in plan.settings)
    plan = dataclasses.replace(plan, dataset=dataset, settings=settings)
    plan.save(folder)
    order = [setting["name"] for setting in settings]
    for cell in plan.cells:
        config = Config(**cell.config)
        history = [
            _epoch(config, epoch, accuracy(order.index(cell.setting), cell.seed, epoch))
            for epoch in range(1, config.epochs + 1)
        ]
        make_cell(folder, cell, history)
    return plan


def make_cell(folder: Path, cell: Cell, history: list[EpochRecord]) -> None:
    """Write one run that is done; where it learns inner rates, they are a hundredth of the epoch."""
    place, config, store = folder_of(folder, cell.name), Config(**cell.config), glyphs()
    run = RunFolder.create(place / RUN, config, store, recipe=cell.parameters["recipe"], command="mamlkit train")
    trainer = Trainer.from_config(dataclasses.replace(config, dataset="glyphs"), store)
    trainer.learner.config = config
    for record in history:
        trainer.history.append(record)
        if config.learn_inner_lrs:
            trainer.learner.inner_lrs.fill_(record.epoch / 100)
        run.save(trainer)
    last = history[-1].validation.accuracy
    tests = {norm: Evaluation(last - gap, 0.01, 0.5, 100, norm) for norm, gap in (("batch", 0.0), ("running", 0.05))}
    run.finish(result(run, history, tests, tested_epochs=best_epochs(history, config.ensemble), test_seconds=6.0))
    record = {"cell": cell.name, "setting": cell.setting, "seed": cell.seed, "parameters": cell.parameters}
    record |= {"notebook_sha256": "cd" * 32, "data_sha256": store.sha256, "versions": these_versions(), "seconds": 30.0}
    (place / RECORD).write_text(json.dumps(record))


def _epoch(config: Config, epoch: int, accuracy: float) -> EpochRecord:
    first = (epoch - 1) * config.iterations_per_epoch
    iterations = tuple(
        Iteration(first + i, 1 / epoch, accuracy, i / epoch, _inner_norms(config), True, 1e-3, True)
        for i in range(1, config.iterations_per_epoch + 1)
    )
    validation = Evaluation(accuracy, 0.02, 1.0, 8, config.norm_eval)
    largest = tuple((norm, 2 * norm) for norm in _inner_norms(config))  # of the first two tensors
    return EpochRecord(epoch, iterations, validation, 30.0, largest)


def _inner_norms(config: Config) -> tuple[float, ...]:
    return tuple(config.inner_lr + 2.0 - k / 10 for k in range(config.n_steps))
