"""``mamlkit evaluate``: test a run on fixed episodes, with both kinds of batch-norm statistics."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from mamlkit.commands import progress, tables
from mamlkit.core.config import Config
from mamlkit.core.data_sources import SOURCES
from mamlkit.core.episodes import SPLITS, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.datasets import load
from mamlkit.runs.folder import RunFolder
from mamlkit.training.history import best_epochs
from mamlkit.training.trainer import make_sampler

NAMES = {"episodes": "test_episodes"}  # option -> its name in the configuration


def open_data(folder: RunFolder) -> ImageStore:
    """Return the data set of a run.

    Raises:
        InputError: the data set is missing, or differs from the data of the training.
    """
    config = folder.config
    store = load(config.dataset, path=config.data_path, image_size=config.image_size)
    if store.sha256 != folder.about["data_sha256"]:
        raise InputError(
            f"{folder.path} was trained on {config.dataset} with SHA-256 {folder.about['data_sha256']}, but the data "
            f"here have {store.sha256}"
        )
    return store


@click.command(name="evaluate")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Classes to draw from.")
@click.option("--episodes", type=int, help="Number of episodes.  [default: the run's test_episodes]")
@click.option("--eval-query", type=int, help="Query images per class.  [default: the run's]")
@click.option("--eval-steps", type=int, help="Inner steps.  [default: the run's]")
@click.option("--seed", type=int, help="Seed of the episodes.  [default: the run's]")
@click.option("--ensemble", type=int, help="Number of best epochs whose logits are averaged.  [default: the run's]")
@click.option(
    "--dataset",
    metavar="NAME",
    help=f"Test on another data set.  [{'|'.join(SOURCES)}; default: the run's]",
)
@click.option("--data-path", help="Folder of that data set; see mamlkit train.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(*, folder: Path, split: str, as_json: bool, **values: str | int | None) -> None:
    """Test the run in DIR on fixed episodes.

    --dataset wall --data-path FOLDER tests it on the sheets of drawings that a class exported into FOLDER.

    Every accuracy has a 95 % interval over episodes. The test runs twice: with the query set's own batch-norm
    statistics (transductive: a prediction depends on the other query images) and with the recorded statistics.
    """
    run = RunFolder.open(folder)
    given = {NAMES.get(key, key): value for key, value in values.items() if value is not None}
    if "dataset" in given:
        given.setdefault("data_path", "")  # the run's own folder belongs to its own data set
    config = Config.from_dict(given, run.config)
    other = {"dataset", "data_path"} & given.keys()
    store = load(config.dataset, path=config.data_path, image_size=config.image_size) if other else open_data(run)
    epochs = _choose_epochs(run, config.ensemble)
    sampler = make_sampler(store, config, split)
    learners = [learner.reconfigure(config) for learner in run.learners(epochs, sampler.image_shape)]
    evaluations = progress.evaluate_both(learners, sampler, config.test_episodes)
    if not as_json:
        tables.show_evaluations(RunFolder(run.path, config, run.about), evaluations, epochs)
        return
    headline: dict[str, Any] = dataclasses.asdict(evaluations[config.norm_eval])
    report = {
        "run": str(folder),
        "recipe": run.about["recipe"],
        "split": split,
        **headline,
        "tested_epochs": epochs,
        "evaluations": {norm: dataclasses.asdict(evaluation) for norm, evaluation in evaluations.items()},
        "config": config.to_dict(),
        "data_sha256": store.sha256,
    }
    click.echo(json.dumps(report, indent=2))


def _choose_epochs(run: RunFolder, n: int) -> list[int]:
    if n > run.config.ensemble:
        raise InputError(f"--ensemble {n} is too large; {run.path} keeps the best {run.config.ensemble} epochs")
    epochs = best_epochs(run.history(), n)
    if not epochs:
        raise InputError(f"{run.path} has no complete epoch yet; continue it with mamlkit train --resume {run.path}")
    return epochs
