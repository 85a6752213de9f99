"""Train one run of a grid in this process, without a notebook, within a time limit."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from mamlkit.core.config import Config
from mamlkit.datasets import load
from mamlkit.runs import results
from mamlkit.runs.command_line import command_line
from mamlkit.runs.folder import RunFolder
from mamlkit.training.history import Iteration
from mamlkit.training.trainer import Trainer, make_sampler

LIMIT_SECONDS = 600.0  # of wall-clock time for the training of one run; twenty times as long as the longest should take


class TooLongError(Exception):
    """A run reached its time limit."""


def train(path: Path, config: Config, recipe: str, *, limit: float = LIMIT_SECONDS) -> None:
    """Train and test a run; continue it if the folder holds its beginning.

    Args:
        path: folder of the run.
        config: its configuration.
        recipe: its recipe, for the record.
        limit: time limit, seconds. A run that reaches it has ``"stopped"`` in its ``result.json``, and no accuracy.

    Raises:
        InputError: the run cannot be created, continued or trained.

    Writes: the folder; torch's number of threads.
    """
    torch.set_num_threads(1)
    store = load(config.dataset, path=config.data_path, image_size=config.image_size)
    if (path / "run.json").exists():
        run = RunFolder.open(path)
    else:
        run = RunFolder.create(path, config, store, recipe=recipe, command=command_line(recipe, config))
    trainer, end = Trainer.from_config(config, store), time.perf_counter() + limit
    run.restore(trainer)

    def watch(_: Iteration) -> None:
        if time.perf_counter() > end:
            raise TooLongError

    try:
        for _ in trainer.epochs(on_iteration=watch):
            run.save(trainer)
    except TooLongError:
        run.finish({"stopped": f"not finished in {limit:g} seconds", "minutes": limit / 60, "evaluations": {}})
        return
    results.conclude(run, trainer.history, make_sampler(store, config, "test"))
