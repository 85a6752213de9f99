"""Train the runs that notebook 11 compares: ``python data/build_extend.py`` (forty minutes on one core; it resumes).

``mamlkit/study/stored/comparison.jsonl`` holds a run on glyphs, 5-way 1-shot, on each line: MAML and MAML++, Meta-SGD,
Reptile and prototypical networks, and MAML with weight decay in the inner loop, at two strengths. All runs of a seed
have the same test episodes. Existing runs are kept where they have the same budget; delete a line to train it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import click
import torch
from tqdm import tqdm

from mamlkit.core.recipes import configure
from mamlkit.core.system.files import write_whole
from mamlkit.core.system.versions import versions
from mamlkit.datasets import load
from mamlkit.study import stored
from mamlkit.training.evaluation import evaluate_norms
from mamlkit.training.trainer import Trainer, make_sampler

STRONG = 0.1  # a decay of a hundred times the recipe's
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("maml", {}),
    ("mamlpp", {}),
    ("meta-sgd", {}),
    ("reptile", {}),
    ("protonet", {}),
    ("maml+wd", {}),
    ("maml+wd", {"inner_decay": STRONG}),
)
BUDGET: dict[str, Any] = {
    "filters": 16,
    "epochs": 10,
    "iterations_per_epoch": 30,
    "val_episodes": 2,  # the last epoch is tested, whatever its validation
    "test_episodes": 300,
    "ensemble": 1,
    "device": "cpu",
}

Job = tuple[str, dict[str, Any], int]  # recipe, changes, seed


def jobs(seeds: int) -> Iterator[Job]:
    """Yield every run, one seed after another."""
    for seed in range(seeds):
        for recipe, changes in VARIANTS:
            yield recipe, changes, seed


def run(job: Job, budget: dict[str, Any]) -> dict[str, Any]:
    """Train one run and return its line."""
    torch.set_num_threads(1)
    recipe, changes, seed = job
    store = load("glyphs")
    config = configure(recipe, **budget, **changes, seed=seed)
    trainer = Trainer.from_config(config, store)
    for _ in trainer.epochs():
        pass
    found = evaluate_norms([trainer.learner], make_sampler(store, config, "test"), config.test_episodes)
    return {
        "recipe": recipe,
        "changes": changes,
        "seed": seed,
        "test": found["batch"].accuracy,
        "test_ci95": found["batch"].ci95,
        "running": found["running"].accuracy,
        "running_ci95": found["running"].ci95,
    }


def key(line: dict[str, Any]) -> str:
    """Return the key of a stored run, which is that of its job."""
    return json.dumps([line["recipe"], line["changes"], line["seed"]])


def write(lines: list[dict[str, Any]], about: dict[str, Any], seeds: int) -> None:
    """Write the runs in the order of ``jobs``, after one line with their common data."""
    places = {json.dumps(job): place for place, job in enumerate(jobs(seeds))}
    ordered = sorted(lines, key=lambda line: places[key(line)])
    write_whole(stored.COMPARISON, "".join(json.dumps(line) + "\n" for line in [about, *ordered]).encode())


def smaller(pairs: tuple[str, ...]) -> dict[str, int]:
    """Return the numbers of a smaller budget, from pairs such as ``filters=8``."""
    changed = {}
    for name, _, number in (pair.partition("=") for pair in pairs):
        allowed = [key for key, value in BUDGET.items() if isinstance(value, int)]
        if name not in allowed or not number.isdigit():
            raise click.BadParameter(f"{name}={number} is not NAME=NUMBER with a name of {', '.join(allowed)}")
        changed[name] = int(number)
    return changed


@click.command(help=__doc__)
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(3), help="Seeds of each variant.")
@click.option("--set", "changed", multiple=True, metavar="NAME=NUMBER", help="A smaller budget, as filters=8.")
@click.option("--jobs", "n_processes", default=1, show_default=True, help="Processes at once, one thread each.")
def main(seeds: int, changed: tuple[str, ...], n_processes: int) -> None:
    """Train the missing runs."""
    torch.set_num_threads(1)
    budget = BUDGET | smaller(changed)
    base = configure("maml", **budget)
    options = [
        *(["--seeds", str(seeds)] if seeds != 5 else []),
        *(part for pair in changed for part in ("--set", pair)),
    ]
    about = {
        "config": base.to_dict(),
        "episodes": base.test_episodes,
        "data_sha256": load("glyphs").sha256,
        "versions": versions(),  # of the commit before this script changes a file
        "command": " ".join(["python", "data/build_extend.py", *options]),
    }
    wanted = [json.dumps(job) for job in jobs(seeds)]
    same = stored.COMPARISON.exists() and stored.about_comparison()["config"] == base.to_dict()
    lines = [line for line in stored.comparison() if key(line) in wanted] if same else []
    done = {key(line) for line in lines}
    todo = [job for job in jobs(seeds) if json.dumps(job) not in done]
    with ProcessPoolExecutor(n_processes) as pool:
        futures = [pool.submit(run, job, budget) for job in todo]
        for future in tqdm(as_completed(futures), "runs", len(futures)):
            lines.append(future.result())
            write(lines, about, seeds)


if __name__ == "__main__":
    main()
