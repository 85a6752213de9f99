"""Estimate the duration of a grid on this machine, from a few timed meta-iterations."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence

import torch

from mamlkit.core.config import Config
from mamlkit.core.schedules import eval_config, step_config
from mamlkit.datasets import load
from mamlkit.engines.work import iteration_flop
from mamlkit.study.reproduction.plan import Cell, Plan
from mamlkit.training.trainer import Trainer

ALIKE = ("backbone", "depth", "batch_norm", "skips", "max_pool", "filters", "image_size", "n_way", "engine", "memory")
TIMED = 3
NOTEBOOK_SECONDS = 15.0  # for a kernel to start, and for figures


def seconds(plan: Plan, cells: Sequence[Cell], workers: int) -> float:
    """Return the estimated duration of some runs of a grid, seconds of wall-clock time.

    Runs with the same network and engine have the same speed, in floating-point operations per second; one run of each
    kind is timed.

    Args:
        plan: plan of the grid.
        cells: the runs to estimate; none of their epochs is done.
        workers: number of parallel runs.

    Writes: torch's number of threads, during the call.
    """
    kinds: dict[tuple[object, ...], list[Config]] = {}
    for cell in cells:
        config = Config(**cell.config)
        kinds.setdefault(tuple(getattr(config, name) for name in ALIKE), []).append(config)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        total = sum(_seconds(configs, plan.image_shape) for configs in kinds.values())
    finally:
        torch.set_num_threads(threads)
    notebooks = NOTEBOOK_SECONDS * len(cells) if plan.in_notebooks else 0.0
    return (total + notebooks) / workers


def flop_of(config: Config, image_shape: tuple[int, int, int]) -> float:
    """Return the floating-point operations of a run: training, validation and test."""
    epochs = (step_config(config, epoch) for epoch in range(config.epochs))
    training = sum(config.iterations_per_epoch * iteration_flop(config, step, image_shape) for step in epochs)
    task = dataclasses.replace(config, n_tasks=1, q_query=config.eval_query)
    episodes = config.epochs * config.val_episodes + config.test_episodes * config.ensemble
    return training + episodes * iteration_flop(task, eval_config(config, "batch"), image_shape)


def _seconds(configs: Sequence[Config], image_shape: tuple[int, int, int]) -> float:
    ranked = sorted(configs, key=lambda config: flop_of(config, image_shape))
    middle = ranked[len(ranked) // 2]
    short = dataclasses.replace(middle, epochs=1, iterations_per_epoch=TIMED + 1, val_episodes=2)
    trainer = Trainer.from_config(short, load(middle.dataset, path=middle.data_path, image_size=middle.image_size))
    times, begin = list[float](), time.perf_counter()
    for _ in trainer.iterations():
        now = time.perf_counter()
        times.append(now - begin)
        begin = now
    per_flop = statistics.median(times[1:]) / iteration_flop(short, step_config(short, 0), image_shape)
    return per_flop * sum(flop_of(config, image_shape) for config in configs)
