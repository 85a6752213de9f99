"""Measure the effect of a changed inner rate on the page watch: ``python data/watch_rates.py`` (half an hour).

``data/results/live/watch.json`` holds trainings on glyphs with the page's settings, three seeds each. One keeps its
initial rate to the end; the others change to another rate after 300 meta-iterations. A row has means of the 50
meta-iterations (5 looks at the fixed task) before the change and of the last 50; ``drift`` is by layer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from tqdm import tqdm

from mamlkit.core.recipes import configure
from mamlkit.core.system.versions import versions
from mamlkit.datasets import load
from mamlkit.show.live.theatre import Theatre

OUT = Path(__file__).with_name("results") / "live" / "watch.json"
SETTINGS: dict[str, Any] = dict(n_way=5, filters=16, engine="vmap", device="cpu", on_nonfinite="skip", inner_lr=0.1)
SETTINGS |= dict(epochs=30, iterations_per_epoch=50)
CHANGE, AFTER, WINDOW = 300, 150, 50  # meta-iterations: before the change, after it, and in each mean
RATES = {"maml": (None, 0.01, 1.0, 4.0), "mamlpp": (None, 1.0)}  # None: keep the initial rate
SEEDS = (0, 1, 2)


def window(theatre: Theatre, end: int) -> dict[str, Any]:
    """Return the means over the meta-iterations and looks up to the given iteration."""
    passed = theatre.history[end - WINDOW : end]
    looks = [look for look in theatre.looks if end - WINDOW < look.at <= end]
    return {
        "accuracy": round(float(np.mean([p.accuracy for p in passed])), 4),
        "norm": round(float(np.mean([look.norms[-1] for look in looks])), 3),
        "drift": np.mean([look.drift for look in looks], axis=0).round(3).tolist(),
        "skipped": sum(not p.taken for p in passed),
    }


@click.command(help=__doc__)
def main() -> None:
    """Run all trainings, and write the file."""
    torch.set_num_threads(1)
    glyphs, rows = load("glyphs"), []
    cases = [(recipe, rate, seed) for recipe, rates in RATES.items() for rate in rates for seed in SEEDS]
    for recipe, rate, seed in tqdm(cases, "trainings"):
        theatre = Theatre(configure(recipe, seed=seed, **SETTINGS), glyphs)
        theatre.advance(CHANGE)
        if rate is not None:
            theatre.set_rate(rate)
        theatre.advance(AFTER if rate is not None else theatre.total)
        row = {"recipe": recipe, "rate": rate, "seed": seed, "before": window(theatre, CHANGE)}
        rows.append({**row, "last": window(theatre, len(theatre.history)), "iterations": len(theatre.history)})
    about = {"settings": SETTINGS, "change": CHANGE, "window": WINDOW, "data_sha256": glyphs.sha256}
    about |= {"versions": versions(), "command": "python data/watch_rates.py"}
    lines = ",\n    ".join(json.dumps(row) for row in rows)
    OUT.write_text(f'{{\n  "about": {json.dumps(about)},\n  "rows": [\n    {lines}\n  ]\n}}\n', "utf-8")


if __name__ == "__main__":
    main()
