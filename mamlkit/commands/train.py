"""``mamlkit train``: meta-train a recipe, and continue a run that was stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
from torch import Tensor

from mamlkit.commands import progress, tables
from mamlkit.commands.evaluate import open_data
from mamlkit.commands.events import check_tensorboard, event_log
from mamlkit.commands.options import GroupedCommand, config_options
from mamlkit.core.config import Config, read_toml
from mamlkit.core.episodes import SPLITS, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.recipes import configure
from mamlkit.datasets import load
from mamlkit.runs import origin, results
from mamlkit.runs.command_line import command_line
from mamlkit.runs.folder import RunFolder
from mamlkit.training.history import EpochRecord
from mamlkit.training.parallel import Ranks, joined
from mamlkit.training.trainer import Trainer, make_sampler

DEFAULT_RECIPE = "mamlpp"


@click.command(name="train", cls=GroupedCommand)
@click.option("--recipe", metavar="NAME", help=f"Recipe to train; see mamlkit list.  [default: {DEFAULT_RECIPE}]")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file with options by name.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/<its name>]")
@click.option("--resume", type=click.Path(path_type=Path), help="Continue a run; no option but --tensorboard.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard event files into the run's folder.")
@config_options
def command(
    *,
    recipe: str | None,
    config_file: Path | None,
    out: Path | None,
    resume: Path | None,
    tensorboard: bool,
    **values: Any,
) -> None:
    """Meta-train one recipe and test it.

    A recipe sets some options, a TOML file may set others, and the command line overrides both; the defaults shown
    apply before the recipe (see mamlkit list). The run's folder holds the configuration, metrics.jsonl, checkpoints and
    result.json. Under torchrun each meta-batch is split over the processes; the run is the same, and only the first
    process needs its folder.

    \b
    mamlkit train --dataset omniglot --recipe mamlpp --n-way 5 --k-shot 1
    mamlkit train --recipe maml --n-steps 3 --epochs 10 --out runs/three-steps
    mamlkit train --resume runs/three-steps
    torchrun --nproc-per-node 2 -m mamlkit train --recipe mamlpp
    """  # noqa: D301 - click's mark for lines that it must not wrap
    given = {key: value for key, value in values.items() if value is not None}
    with joined() as ranks:
        if tensorboard:
            check_tensorboard()
        if resume is None:
            folder = ranks.from_first(lambda: _begin(ranks, recipe, config_file, out, given))
        elif given or recipe or config_file or out:
            raise InputError(f"--resume {resume} continues the run unchanged; only --tensorboard is allowed beside it")
        else:
            folder = ranks.from_first(lambda: _reopen(ranks, resume))
        with ranks.first_here():
            store = open_data(folder)
            image_shape = make_sampler(store, folder.config, "train", training=True).image_shape
            trainer = Trainer.from_config(folder.config, store, problem=folder.find_problem(image_shape), ranks=ranks)
        _restore(folder, trainer)
        _train(folder, trainer, tensorboard)
    if ranks.rank == 0:
        _test(folder, trainer, store)


def _begin(
    ranks: Ranks, recipe: str | None, config_file: Path | None, out: Path | None, given: dict[str, Any]
) -> RunFolder:
    """Create a run; raise before anything is written if the run is impossible."""
    name, config = _configure(recipe, config_file, given)
    if ":" in config.backbone:
        origin.allow(str(Path.cwd()))
    store = load(config.dataset, path=config.data_path, image_size=config.image_size)
    what = f"{config.dataset}-{config.n_way}way-{config.k_shot}shot-{name}-seed{config.seed}"
    path = out or Path("runs") / what
    RunFolder.check_free(path)
    for split in SPLITS:
        make_sampler(store, config, split, training=split == "train")  # raises if the data do not suffice
    engine = progress.trainer(config, store, ranks=ranks).choice.engine
    config = dataclasses.replace(config, engine=engine)  # a resumed or repeated run takes the same engine
    return RunFolder.create(path, config, store, recipe=name, command=command_line(name, config))


def _reopen(ranks: Ranks, path: Path) -> RunFolder:
    folder = RunFolder.open(path)
    origin.find(folder.about.get("network", {}), folder.config, path)
    progress.trainer(folder.config, open_data(folder), ranks=ranks)
    return folder


def _configure(recipe: str | None, config_file: Path | None, given: dict[str, Any]) -> tuple[str, Config]:
    values = read_toml(config_file) if config_file else {}
    in_file = values.pop("recipe", None)
    name = str(recipe or in_file or DEFAULT_RECIPE)
    try:
        return name, configure(name, **{**values, **given})
    except InputError as error:
        if values.keys() - given.keys():
            raise InputError(f"{error} (with the options of {config_file})") from error
        raise


def _restore(folder: RunFolder, trainer: Trainer) -> None:
    """Set the trainer of each process to the last complete epoch, which the first process reads from the folder."""

    def read() -> tuple[list[EpochRecord], dict[str, Tensor]]:
        folder.restore(trainer)
        return trainer.history, {name: tensor.cpu() for name, tensor in trainer.learner.state().items()}

    trainer.history, state = trainer.ranks.from_first(read)
    trainer.learner.load_state(state)


def _train(folder: RunFolder, trainer: Trainer, tensorboard: bool) -> None:
    if trainer.ranks.rank:
        for _ in trainer.epochs():
            pass  # the first process saves and prints
        return
    epochs = folder.config.epochs
    click.echo(f"{folder.about['recipe']} into {folder.path}: {len(trainer.history)} of {epochs} epochs are done")
    with event_log(folder.path / "tensorboard" if tensorboard else None) as log:
        try:
            for record in progress.train(trainer, folder.about["recipe"]):
                folder.save(trainer)
                log(record)
                progress.say_epoch(record, epochs)
        except KeyboardInterrupt:
            click.echo(f"\nStopped. Continue with: mamlkit train --resume {folder.path}")
            raise
    if trainer.stopped_early:
        click.echo(f"Stopped early: no better validation in {folder.config.patience} epochs.")


def _test(folder: RunFolder, trainer: Trainer, store: ImageStore) -> None:
    sampler = make_sampler(store, folder.config, "test")
    epochs, evaluations = results.conclude(folder, trainer.history, sampler, evaluate=progress.evaluate_both)
    tables.show_evaluations(folder, evaluations, epochs)
    click.echo(f"Everything is in {folder.path}; the numbers in {folder.path / 'result.json'}.")
