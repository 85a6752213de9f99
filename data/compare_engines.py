"""Train the same run with every engine, and write the accuracies: results/speed/engines.json.

    python data/compare_engines.py

Five-way one-shot on glyphs, 500 meta-iterations of MAML++ with 32 filters, three seeds; about half an hour on two
cores. All engines use the same starts and the same episodes; only rounding differs, and training magnifies it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mamlkit.commands import progress
from mamlkit.core.episodes import ImageStore
from mamlkit.core.recipes import configure
from mamlkit.core.system.files import write_whole
from mamlkit.core.system.versions import versions
from mamlkit.datasets import load
from mamlkit.training.evaluation import evaluate, mean_ci95
from mamlkit.training.trainer import make_sampler

OUT = Path(__file__).parent / "results" / "speed" / "engines.json"
SEEDS = (0, 1, 2)
SIZES: dict[str, Any] = {"filters": 32, "n_tasks": 4, "epochs": 5, "iterations_per_epoch": 100, "val_episodes": 100}
WAYS: dict[str, dict[str, Any]] = {
    "eager": {"engine": "eager"},
    "vmap": {"engine": "vmap"},
    "compiled": {"engine": "compiled"},
    "compiled, memory low": {"engine": "compiled", "memory": "low"},
    "compiled, autocast": {"engine": "compiled", "autocast": True},
}


def run(store: ImageStore, way: str, seed: int) -> dict[str, Any]:
    """Train and test once."""
    config = configure("mamlpp", seed=seed, device="cpu", **SIZES, **WAYS[way])
    trainer, sampler = progress.trainer(config, store), make_sampler(store, config, "test")
    if trainer.choice.engine != config.engine:
        raise SystemExit(f"this machine cannot run {way}")
    history = list(progress.train(trainer, f"{way}, seed {seed}"))
    tested = evaluate([trainer.learner], sampler, config.test_episodes)
    return {
        "seed": seed,
        "accuracy": tested.accuracy,
        "ci95": tested.ci95,
        "episodes": tested.episodes,
        "last_train_loss": history[-1].train_loss,
        "nonfinite": sum(record.nonfinite for record in history),
    }


def main() -> None:
    """Train all runs and write the file."""
    store = load("glyphs")
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for seed in SEEDS:  # all ways run under the same conditions for a seed
        for way in WAYS:
            runs[way].append(run(store, way, seed))
            print(way, runs[way][-1], flush=True)
    means = {way: mean_ci95(torch.tensor([one["accuracy"] for one in ones]))[0] for way, ones in runs.items()}
    result = {
        "command": "python data/compare_engines.py",
        "config": configure("mamlpp", device="cpu", **SIZES).to_dict(),
        "ways": WAYS,
        "versions": versions(),
        "data_sha256": store.sha256,
        "mean_accuracy": means,
        "runs": runs,
    }
    write_whole(OUT, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
