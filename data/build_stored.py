"""Train the stored starts and runs of the package: ``python data/build_stored.py`` (two hours on one core; it resumes).

``mamlkit/study/stored/runs.jsonl`` holds short runs on glyphs, one line each, with every combination of the five fixes,
other inner rates, ANIL and BOIL. ``mamlkit/study/stored/starts/`` holds starts to adapt from, without Adam's moments.
Existing results are kept; delete a line or a file to train it again.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from typing import Any

import click
import numpy as np
import torch
from tqdm import tqdm

from mamlkit.core import recipes
from mamlkit.core.config import Config
from mamlkit.core.recipes import configure
from mamlkit.core.system.files import write_whole
from mamlkit.core.system.versions import versions
from mamlkit.datasets import load
from mamlkit.runs import checkpoints
from mamlkit.study import stored
from mamlkit.training.evaluation import evaluate
from mamlkit.training.trainer import Trainer, make_sampler

FIXES = {
    "bn": recipes.BN,
    "ca": recipes.CA,
    "da": recipes.DA,
    "lslr": recipes.LSLR,
    "msl": recipes.MSL,
}
SEEDS = (0, 1, 2)
TEST_EPISODES = 200
BASE = configure(
    "maml",
    filters=16,
    epochs=6,
    iterations_per_epoch=50,
    val_episodes=60,
    test_episodes=TEST_EPISODES,
    ensemble=1,
    on_nonfinite="skip",
    device="cpu",
    tasks_per_chunk=4,
)
STARTS = {  # name: the fixes, and other changes
    "maml": ((), {}),
    "mamlpp": (tuple(FIXES), {}),
}
START_BUDGET = {"epochs": 30, "iterations_per_epoch": 100, "val_episodes": 100}

Job = tuple[str, tuple[str, ...], dict[str, Any], int]


def jobs() -> Iterator[Job]:
    """Yield (group, fixes, changes, seed) of every short run, one seed after another."""
    for seed in SEEDS:
        for n in range(len(FIXES) + 1):
            for fixes in itertools.combinations(sorted(FIXES), n):
                yield "switchboard", fixes, {}, seed
        for rate in (0.01, 0.03, 0.3, 1.0):
            for fixes in ((), ("lslr",)):
                yield "rates", fixes, {"inner_lr": rate}, seed
        for adapt in ("head", "body"):
            yield "adapt", (), {"adapt": adapt}, seed


def config_of(fixes: tuple[str, ...], changes: dict[str, Any], seed: int) -> Config:
    """Return the configuration of a run."""
    config = replace(BASE, **changes, seed=seed)
    for fix in fixes:
        config = replace(config, **FIXES[fix])
    return config


def run(job: Job) -> dict[str, Any]:
    """Train one short run and return its line."""
    torch.set_num_threads(1)
    group, fixes, changes, seed = job
    store = load("glyphs")
    config = config_of(fixes, changes, seed)
    trainer = Trainer.from_config(config, store)
    history = list(trainer.epochs())
    test = make_sampler(store, config, "test")
    batch, running = (evaluate([trainer.learner], test, TEST_EPISODES, norm=norm) for norm in ("batch", "running"))
    norms = [[i.grad_norm for i in record.iterations] for record in history]
    return {
        "group": group,
        "fixes": list(fixes),
        "changes": changes,
        "seed": seed,
        "val": [round(record.validation.accuracy, 4) for record in history],
        "val_ci95": [round(record.validation.ci95, 4) for record in history],
        "grad_norm": [float(f"{np.median(row):.4g}") for row in norms],
        "grad_norm_max": [float(f"{max(row):.4g}") for row in norms],
        "nonfinite": sum(record.nonfinite for record in history),
        "test": round(batch.accuracy, 4),
        "test_ci95": round(batch.ci95, 4),
        "running": round(running.accuracy, 4),
        "running_ci95": round(running.ci95, 4),
    }


def train_start(name: str) -> str:
    """Train one start, keep it, and return a sentence with its test accuracy."""
    torch.set_num_threads(1)
    fixes, changes = STARTS[name]
    store = load("glyphs")
    config = replace(config_of(fixes, changes, 0), **START_BUDGET)
    trainer = Trainer.from_config(config, store)
    rates = [trainer.learner.inner_lrs.clone(), *(trainer.learner.inner_lrs.clone() for _ in trainer.epochs())]
    test = evaluate([trainer.learner], make_sampler(store, config, "test"), 600)
    history = {"rate_history": torch.stack(rates)}
    about = {"test_accuracy": test.accuracy, "test_ci95": test.ci95, "test_episodes": 600, "versions": versions()}
    checkpoints.save_start(stored.STARTS / f"{name}.safetensors", trainer.learner, about=about, extra=history)
    return f"{name}: {100 * test.accuracy:.2f} +- {100 * test.ci95:.2f} %"


def job_key(job: Job) -> str:
    """Return the key of a run."""
    return json.dumps(job)


def key(line: dict[str, Any]) -> str:
    """Return the key of a stored run."""
    return job_key((line["group"], line["fixes"], line["changes"], line["seed"]))


def write(lines: list[dict[str, Any]]) -> None:
    """Write the runs in the order of ``jobs``, after one line with their common data."""
    places = {job_key(job): place for place, job in enumerate(jobs())}
    about = {
        "config": BASE.to_dict(),
        "episodes": TEST_EPISODES,
        "data_sha256": load("glyphs").sha256,
        "versions": versions(),
        "command": "python data/build_stored.py",
    }
    ordered = sorted(lines, key=lambda line: places[key(line)])
    write_whole(stored.RUNS, "".join(json.dumps(line) + "\n" for line in [about, *ordered]).encode())


@click.command(help=__doc__)
@click.option("--jobs", "n_processes", default=1, show_default=True, help="Processes at once, one thread each.")
@click.option("--only", type=click.Choice(["starts", "runs"]), help="Train only these.")
def main(n_processes: int, only: str | None) -> None:
    """Train the missing starts and runs."""
    torch.set_num_threads(1)
    if only != "runs":
        for name in tqdm([name for name in STARTS if name not in stored.start_names()], "starts"):
            tqdm.write(train_start(name))
    if only == "starts":
        return
    lines = stored.runs() if stored.RUNS.exists() else []
    done = {key(line) for line in lines}
    todo = [job for job in jobs() if job_key(job) not in done]
    with ProcessPoolExecutor(n_processes) as pool:
        for future in tqdm(as_completed([pool.submit(run, job) for job in todo]), "runs", len(todo)):
            lines.append(future.result())
            write(lines)


if __name__ == "__main__":
    main()
