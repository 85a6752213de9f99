"""Check mamlkit on a device: ``python data/check_device.py --device cuda`` (under four minutes; nothing is written).

It prints one table with the measured values and their upper bounds. The exit code is 1 if a row failed. ``--speed``
also times the engines and trains MAML++ on 20-way glyphs for four minutes, in eight minutes together; ``--out`` keeps
these numbers in a JSON file.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from rich.console import Console
from rich.table import Table

from mamlkit.__main__ import BadInput
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.recipes import configure
from mamlkit.core.system.files import write_whole
from mamlkit.core.system.versions import versions
from mamlkit.datasets import load
from mamlkit.engines.captured import relative_distance
from mamlkit.runs import checkpoints
from mamlkit.show.live.theatre import Theatre
from mamlkit.study.bench import workloads
from mamlkit.study.bench.iteration import Iteration, UnavailableError
from mamlkit.training.evaluation import evaluate_norms
from mamlkit.training.learner import MetaLearner, pick_device
from mamlkit.training.trainer import Trainer, make_sampler

ENGINES = {
    "eager": {"engine": "eager"},
    "vmap": {"engine": "vmap"},
    "vmap, memory low": {"memory": "low"},
    "compiled": {"engine": "compiled"},
    "compiled, memory low": {"engine": "compiled", "memory": "low"},
}
WORKS, WARM_UP, SAMPLES = ("W1", "W2", "W3"), 3, 10
FLOAT32, FLOAT64 = 0.05, 1e-9  # relative distance of a meta-gradient; float32 may change a pooling maximum


class Row(NamedTuple):
    """One line of the table."""

    name: str
    ok: bool
    found: str
    bound: str


def row(name: str, bound: float, measure: Callable[..., float], **settings: str) -> Row:
    """Return whether a measure is at most ``bound``; an error is a failure."""
    try:
        found = measure(**settings)
    except Exception as error:  # noqa: BLE001 - the table shows the error
        return Row(name, False, f"{type(error).__name__}: {error}", f"{bound:g}")
    return Row(name, found <= bound, f"{found:.3g}", f"{bound:g}")


class Checks:
    """The measurements on one data set, one device and one size."""

    def __init__(self, config: Config, store: ImageStore) -> None:
        self.config, self.store = config, store
        self.trainer = Trainer.from_config(config, store)
        self.shape = make_sampler(store, config, "train").image_shape

    def batch(self) -> Episode:
        """Return the first meta-batch of training."""
        return make_sampler(self.store, self.config, "train", training=True).batch(0, self.config.n_tasks)

    def train(self) -> float:
        """Return the share of non-finite meta-gradients."""
        history = list(self.trainer.epochs())
        return sum(record.nonfinite for record in history) / sum(len(record.iterations) for record in history)

    def evaluate(self) -> float:
        """Return the difference of the trained network's accuracy from the CPU's in float64, the larger by norm."""
        sampler = make_sampler(self.store, self.config, "test")
        exact = self.trainer.learner.reconfigure(replace(self.config, device="cpu", dtype="float64", engine="eager"))
        found, expected = (
            evaluate_norms([one], sampler, self.config.test_episodes) for one in (self.trainer.learner, exact)
        )
        return max(abs(found[norm].accuracy - expected[norm].accuracy) for norm in expected)

    def gradient(self, **settings: str) -> float:
        """Return the relative distance of the first meta-gradient from eager's on the CPU in float64."""
        batch = self.batch()
        exact = replace(self.config, device="cpu", dtype="float64", engine="eager")
        found, expected = (
            MetaLearner.from_config(config, self.shape).meta_step(batch, config.epochs - 1).gradient
            for config in (replace(self.config, **settings), exact)
        )
        return relative_distance(found, expected)

    def resume(self) -> float:
        """Stop after the first epoch, resume, and return the difference in the last losses to a straight run."""
        begun, resumed = (Trainer.from_config(self.config, self.store) for _ in range(2))
        next(begun.epochs())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "epoch-0001.safetensors"
            checkpoints.save(path, begun.learner, 1)
            checkpoints.restore(path, resumed.learner, 1)
        state = begun.learner.state()
        if not all(torch.equal(state[name], value) for name, value in resumed.learner.state().items()):
            raise ValueError("a checkpoint does not restore the saved tensors")
        resumed.history = begun.history
        record, straight = [*resumed.epochs()][-1], self.trainer.history[-1]
        return max(abs(a.loss - b.loss) for a, b in zip(record.iterations, straight.iterations, strict=True))

    def theatre(self) -> float:
        """Train in a thread as the page does, and return the number of skipped meta-iterations."""
        theatre = Theatre(replace(self.config, epochs=1), self.store, look_every=5)
        theatre.start()
        while theatre.running:
            time.sleep(0.05)
        if theatre.error is not None:
            raise theatre.error
        return theatre.total - sum(passed.taken for passed in theatre.history)


def check(device: str, *, filters: int = 16, iterations: int = 20, episodes: int = 100) -> list[Row]:
    """Measure everything on a device.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        filters: filters of a convolution.
        iterations: meta-iterations in each of two epochs.
        episodes: test episodes.

    Raises:
        InputError: the device is not on this machine.
    """
    pick_device(device)
    sizes = {
        "filters": filters,
        "iterations_per_epoch": iterations,
        "epochs": 2,
        "val_episodes": 4,
        "test_episodes": episodes,
    }
    config = configure("mamlpp", **sizes, engine="vmap", device=device, on_nonfinite="skip")
    checks = Checks(config, load("glyphs"))
    rows = [
        row("train: share of steps not finite", 0, checks.train),
        row("evaluate: accuracy off the CPU's", 0.02, checks.evaluate),
        row("resume: losses off a straight run's", 0 if device == "cpu" else 0.01, checks.resume),
        row("theatre: steps not taken", 0, checks.theatre),
    ]
    for name, settings in ENGINES.items():
        rows.append(row(f"{name}: off eager in float64", FLOAT32, checks.gradient, **settings))
        if device != "mps":
            rows.append(row(f"{name}, float64: the same", FLOAT64, checks.gradient, **settings, dtype="float64"))
    return rows


def ms_per_iteration(engine: str, config: Config) -> float:
    """Return the median time of a meta-iteration with Adam's step, milliseconds; NaN if the engine cannot run here."""
    try:
        iterate = Iteration(engine, config)
    except UnavailableError as error:
        click.echo(f"{engine}: {error}")
        return float("nan")
    times = []
    for _ in range(WARM_UP + SAMPLES):
        begin = time.perf_counter()
        iterate()  # Adam's step waits for the device
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[WARM_UP:])


def speed(device: str) -> list[dict[str, Any]]:
    """Time W1 to W3 with every engine on a device, and the fastest one in TF32 and bfloat16."""
    variants: list[tuple[str, dict[str, Any]]] = [(engine, {}) for engine in workloads.ENGINES]
    if device == "cuda":
        variants += [("compiled", {"tf32": True}), ("compiled", {"autocast": True})]
    rows = []
    for work, (engine, changes) in itertools.product((workloads.WORKLOADS[name] for name in WORKS), variants):
        ms = ms_per_iteration(engine, replace(work.config, device=device, **changes))
        rows.append({"work": work.name, "engine": ", ".join([engine, *changes]), "ms": round(ms, 3)})
    return rows


def train_for(device: str, minutes: float) -> dict[str, Any]:
    """Train MAML++ 20-way 1-shot on glyphs with the paper's network and tasks for some minutes, and test it.

    Args:
        device: see ``check``.
        minutes: time limit of the training.
    """
    sizes = {"n_way": 20, "n_tasks": 16, "q_query": 1, "iterations_per_epoch": 500, "epochs": 150, "val_episodes": 50}
    config = configure("mamlpp", **sizes, eval_query=1, engine="compiled", device=device, on_nonfinite="skip")
    store = load("glyphs")
    trainer = Trainer.from_config(config, store)
    begin = time.perf_counter()
    for _ in trainer.iterations():
        if time.perf_counter() - begin > 60 * minutes:
            break
    seconds = time.perf_counter() - begin
    test = evaluate_norms([trainer.learner], make_sampler(store, config, "test"), 200)["batch"]
    return {
        "engine": trainer.choice.engine,
        "iterations": trainer.done,
        "seconds": round(seconds, 1),
        "hours for 75,000 iterations": round(75_000 * seconds / trainer.done / 3600, 2),
        "test accuracy": round(test.accuracy, 4),
        "ci95": round(test.ci95, 4),
        "test episodes": test.episodes,
    }


def name_of(device: str) -> str:
    """Return the name of the processor."""
    return torch.cuda.get_device_name() if device == "cuda" else device


@click.command(help=__doc__)
@click.option(
    "--device", type=click.Choice(["cuda", "mps", "cpu"]), help="What to check.  [default: the first that is here]"
)
@click.option("--speed", "timed", is_flag=True, help="Also time the engines, and train for some minutes.")
@click.option("--minutes", default=4.0, show_default=True, help="Time of the training of --speed.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file for the numbers of --speed.")
def main(*, device: str | None, timed: bool, minutes: float, out: Path | None) -> None:
    """Run the checks, and print the table."""
    mps = "mps" if torch.backends.mps.is_available() else "cpu"
    device = device or ("cuda" if torch.cuda.is_available() else mps)
    try:
        rows = check(device)
    except InputError as error:
        raise BadInput(str(error)) from error
    table = Table("Check", "", "Found", "At most", title=f"mamlkit on {device}, torch {torch.__version__}")
    for each in rows:
        table.add_row(each.name, "ok" if each.ok else "failed", each.found, each.bound)
    Console().print(table)
    if timed:
        measured = {"device": name_of(device), "speed": speed(device), "training": train_for(device, minutes)}
        text = json.dumps({**measured, "versions": versions()}, indent=1)
        click.echo(text)
        if out is not None:
            write_whole(out, text.encode())
    click.get_current_context().exit(int(not all(each.ok for each in rows)))


if __name__ == "__main__":
    main()
