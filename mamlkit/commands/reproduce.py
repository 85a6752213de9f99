"""``mamlkit reproduce``: a table of the paper as a grid of runs with seeds and intervals."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch
from tqdm import tqdm

from mamlkit.commands import progress
from mamlkit.commands.course import notebooks_folder
from mamlkit.commands.until import Deadline, DeadlineError, until_option
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.system.imports import check_installed, lazily
from mamlkit.core.system.locks import lock
from mamlkit.runs.folder import saved_epochs
from mamlkit.study.reproduction.plan import Cell, Plan, check_parameters, make_plan, merge, read_plan
from mamlkit.study.reproduction.tables import SCALES, TABLES
from mamlkit.training.learner import MetaLearner

if TYPE_CHECKING:
    from mamlkit.study.reproduction.cell import Outcome

work = lazily("mamlkit.study.reproduction.cell")  # with papermill, Dask and pandas, which load slowly
cluster = lazily("mamlkit.study.reproduction.cluster")
estimate = lazily("mamlkit.study.reproduction.estimate")
measurements = lazily("mamlkit.study.reproduction.measurements")
report = lazily("mamlkit.study.reproduction.report")

PACKAGES = ("distributed", "jinja2", "jupytext", "matplotlib", "nbconvert", "pandas", "papermill", "pyarrow", "scipy")
NOTEBOOK = "09_reproduce.ipynb"


def _seeds(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in value.split(",")) if value else ()
    except ValueError as error:
        raise InputError(f"--seeds {value} is not a list of whole numbers; write it as 0,1,2") from error
    if len(set(seeds)) < len(seeds) or any(not 0 <= seed < 2**31 for seed in seeds):
        raise InputError(f"--seeds {value}: each must be 0 to 2147483647 and occur once")
    return seeds


@click.command(name="reproduce")
@click.argument("table")
@click.option("--scale", default="laptop", show_default=True, metavar="|".join(SCALES), help="Size of each run.")
@click.option("--seeds", default="", callback=_seeds, help="Seeds, as 0,1,2.  [default: the table's own]")
@click.option("--dataset", default="", metavar="NAME", help="Data set.  [default: the table's own]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: results/<its name>]")
@until_option
@click.option("--scheduler", default="", metavar="ADDRESS", help="Address of your Dask cluster, as tcp://host:8786.")
@click.option(
    "-p",
    "--parameter",
    "parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="A parameter of notebook 09, for every run.",
)
def command(
    *,
    table: str,
    scale: str,
    seeds: tuple[int, ...],
    dataset: str,
    out: Path | None,
    until: Deadline,
    scheduler: str,
    parameters: tuple[tuple[str, str], ...],
) -> None:
    """Reproduce TABLE of the paper as a grid of runs, with seeds and intervals.

    \b
    omniglot-ablation  MAML, each fix alone, MAML++
    omniglot           5 and 20 classes, 1 and 5 examples
    mini-imagenet      1 to 5 inner steps
    paper-vs-code      differences between text and code, one at a time
    stability          how many of ten strided runs diverge
    atlas              where training breaks: hundreds of short runs

    Each run is notebook 09, executed by papermill; the short runs of the atlas are trained without a notebook. The
    folder OUT holds the runs, one tidy table, and the report. Finished runs are not repeated, so the same command
    continues an interrupted grid. The time that a grid will take is estimated before it starts.

    \b
    mamlkit reproduce omniglot-ablation --scale smoke --dataset glyphs
    mamlkit reproduce stability --seeds 0,1,2,3 -p epochs 40
    mamlkit reproduce atlas --until 07:00
    """  # noqa: D301 - click's mark for lines that it must not wrap
    check_installed("a grid of runs", PACKAGES, extra="reproduce")
    notebook = notebooks_folder() / NOTEBOOK
    given = work.read_values(parameters)
    check_parameters(given, work.parameters_of(notebook))
    plan = make_plan(table, scale, dataset, seeds, given)
    folder = out or Path("results") / f"{table}-{plan.dataset}-{scale}"
    with cluster.remote(scheduler) as client, lock(folder, "mamlkit reproduce"):
        before = read_plan(folder)
        plan = merge(before, plan, folder) if before else plan
        missing = [cell for cell in plan.cells if not work.is_done(folder, cell)]
        click.echo(f"{TABLES[table].title}: {len(plan.cells)} runs in {folder}, {len(missing)} of them to run")
        if not missing and report.is_written(folder):
            click.echo(f"Nothing to do. The report is {folder / report.PAGE}.")
            return
        if missing and client is None:
            _compile(plan, choose=before is None)
        elif missing:
            cluster.check_workers(client, folder)
        plan.save(folder)
        text = notebook.read_text(encoding="utf-8") if plan.in_notebooks else ""
        failed = _run(client, plan, folder, missing, notebook=text, deadline=until) if missing else []
        _say_failures(folder, failed)
        if len(failed) < len(plan.cells):
            _report(plan, folder)
    if failed:
        raise InputError(f"{len(failed)} of {len(missing)} runs failed; the same command tries them again")


def _say_failures(folder: Path, failed: list[Outcome]) -> None:
    for outcome in failed:
        click.echo(f"\n{outcome.cell} failed; its files are in {work.folder_of(folder, outcome.cell)}")
        click.echo(outcome.error)


def _compile(plan: Plan, *, choose: bool) -> None:
    """Compile the code of the runs on this machine; for a new plan, store the chosen engine in each setting."""
    why: dict[str, None] = {}
    n_runs = len(plan.cells)
    with progress.compiling() as move:
        for setting in plan.settings:
            config = Config(**setting["config"])
            if config.engine == "auto":  # compiling may pay for many runs even if it does not pay for one
                config = dataclasses.replace(config, epochs=config.epochs * n_runs)
            learner = MetaLearner.from_config(config, plan.image_shape)
            choice = learner.choose_engine(_blank_batch(config, plan.image_shape), on_part=move)
            if choose:  # fixed from here on, so that a continued run is the same
                setting["config"]["engine"] = choice.engine
            why |= dict.fromkeys(choice.why)
    for sentence in why:
        click.echo(sentence)


def _blank_batch(config: Config, image_shape: tuple[int, int, int]) -> Episode:
    """Return a meta-batch with the shapes of a configuration."""
    sets: list[torch.Tensor] = []
    for per_class in (config.k_shot, config.q_query):
        n = config.n_tasks, config.n_way * per_class
        sets += [torch.zeros(*n, *image_shape), torch.zeros(n, dtype=torch.int64)]
    return Episode(*sets)


def _say_duration(plan: Plan, folder: Path, missing: list[Cell], workers: int) -> None:
    """Print how long the missing runs will take on this machine."""
    left = []
    for cell in missing:
        done = max(saved_epochs(work.folder_of(folder, cell.name) / work.RUN), default=0)
        epochs = max(1, cell.config["epochs"] - done)
        left.append(dataclasses.replace(cell, config={**cell.config, "epochs": epochs}))
    seconds = estimate.seconds(plan, left, workers)
    click.echo(f"They will take about {tqdm.format_interval(round(seconds))} on this machine (hours:minutes:seconds).")


def _run(
    client: Any, plan: Plan, folder: Path, missing: list[Cell], *, notebook: str, deadline: Deadline
) -> list[Outcome]:
    own = client is None
    with contextlib.ExitStack() as stack:
        if own:
            size = cluster.local_size(len(plan.cells))
            _say_duration(plan, folder, missing, size.workers)
            click.echo(f"Runs at once on this machine: {size.workers}, each with threads: {size.threads}")
            client = stack.enter_context(cluster.local(size))
        bar = _Bar(folder, missing)
        stack.callback(bar.bar.close)

        def tick() -> None:
            bar.tick()
            deadline.check()

        try:
            cluster.run_cells(client, folder, missing, notebook, on_outcome=bar.outcome, on_tick=tick)
        except (KeyboardInterrupt, DeadlineError) as stop:
            done = sum(work.is_done(folder, cell) for cell in missing)
            click.echo(f"\nStopped; runs done since the start: {done}. The same command continues from here.")
            if not own:
                click.echo("Runs that have started on your cluster finish there; the same command waits for them.")
            if isinstance(stop, KeyboardInterrupt):
                raise
            click.get_current_context().exit()
    return bar.failed


def _report(plan: Plan, folder: Path) -> None:
    click.echo("Writing the report ...")
    page = report.write(plan, folder, _command_line(plan))
    report.show(measurements.read(folder / report.TABLE))
    click.echo(f"The report is {page}; every number is in {folder / report.TABLE}.")


def _command_line(plan: Plan) -> str:
    """Return the command that creates a plan."""
    seeds = ",".join(map(str, plan.seeds))
    given = [part for name, value in plan.parameters.items() for part in ("-p", name, json.dumps(value))]
    options = ["--scale", plan.scale, "--dataset", plan.dataset, "--seeds", seeds, *given]
    return shlex.join(["mamlkit", "reproduce", plan.table, *options])


class _Bar:
    """A bar over the epochs of all runs, including unfinished runs."""

    def __init__(self, folder: Path, cells: Sequence[Cell]) -> None:
        self.runs = {cell.name: work.folder_of(folder, cell.name) / work.RUN for cell in cells}
        self.done = 0
        self.failed: list[Outcome] = []
        begun = sum(map(self._epochs, self.runs))
        total = sum(cell.config["epochs"] for cell in cells)
        self.bar = tqdm(total=total, initial=begun, unit="epoch", desc="runs", dynamic_ncols=True, disable=None)

    def tick(self) -> None:
        """Move the bar to the present state of the runs."""
        lost = f", {len(self.failed)} failed" if self.failed else ""
        self.bar.set_postfix_str(f"{self.done} of {len(self.runs)} runs done{lost}", refresh=False)
        self.bar.update(sum(map(self._epochs, self.runs)) - self.bar.n)
        self.bar.refresh()

    def outcome(self, outcome: Outcome) -> None:
        """Count a finished run, and print a message if it failed."""
        if not outcome.error:
            self.done += 1
            return
        self.failed.append(outcome)
        with tqdm.external_write_mode():
            click.echo(f"{outcome.cell} failed: {outcome.error.splitlines()[-1]}", err=True)

    def _epochs(self, name: str) -> int:
        return max(saved_epochs(self.runs[name]), default=0)
