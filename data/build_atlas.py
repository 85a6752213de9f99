"""Store the stability atlas in the package: ``python data/build_atlas.py results/atlas-glyphs-laptop``.

The folder is the one that ``mamlkit reproduce atlas`` filled. Its table of measurements, without the rows of single
epochs by tensor, becomes ``data/results/reproduction/atlas-glyphs.parquet``. The courses of the runs that are shown
become ``mamlkit/study/stored/atlas.safetensors``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from mamlkit.core.errors import InputError
from mamlkit.runs.folder import RunFolder
from mamlkit.show.live.cell import by_layer
from mamlkit.study.reproduction import measurements, summary
from mamlkit.study.reproduction.atlas import METHODS, NETWORKS, PLACES, RATES, STEPS, Place
from mamlkit.study.reproduction.cell import RUN, folder_of
from mamlkit.study.stored import atlas
from mamlkit.training.history import EpochRecord
from mamlkit.training.stability import DIVERGED

BY_TENSOR = ("inner gradient norm", "inner rate")  # measures left out of the committed table
KEPT = ("versions", "seconds")  # of a run's record; the plan has its configuration
RESULTS = Path(__file__).parent / "results" / "reproduction" / "atlas-glyphs.parquet"
AXES = tuple(map(len, (NETWORKS, METHODS, STEPS, RATES)))


def layer_norms(run: RunFolder, history: list[EpochRecord], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Return the larger norm of each layer's weight and bias, [E, K, L]: see ``largest_inner_grad_norms``."""
    norms = np.array([record.largest_inner_grad_norms for record in history])  # [E, K, n_adapted]
    return by_layer(norms, run.find_problem(shape).adapted)


def outcomes(frame: pd.DataFrame, seeds: list[int]) -> dict[str, NDArray[Any]]:
    """Return accuracy, state, reason and largest norm of every run: [N, M, K, R, S]."""
    runs = summary.runs(frame).set_index(["setting", "seed"])
    norms = measurements.bare(frame)
    largest = norms[norms.measure == "largest meta-gradient norm"].groupby(["setting", "seed"]).value.max()
    order = pd.MultiIndex.from_product([[place.name for place in PLACES], seeds])
    missing = order.difference(runs.index)
    if len(missing):
        raise InputError(f"{len(missing)} of {len(order)} runs are missing, such as {missing[0]}; run the grid again")
    shape = (*AXES, len(seeds))
    dead = runs.state == DIVERGED
    columns = {"accuracy": runs.accuracy, "dead": dead, "why": runs.why.where(dead, ""), "largest": largest}
    return {name: column.loc[order].to_numpy().reshape(shape) for name, column in columns.items()}


def course(folder: Path, place: Place, seed: int, shape: tuple[int, int, int]) -> dict[str, NDArray[Any]]:
    """Return the course of one run: ``loss`` and ``grad_norm`` [I], and ``inner_norms`` [E, K, L].

    A run that reached its time limit ends in NaN.
    """
    run = RunFolder.open(folder_of(folder, f"{place.name}-seed{seed}") / RUN)
    history, epochs = run.history(), run.config.epochs
    each = [iteration for record in history for iteration in record.iterations]
    total = epochs * run.config.iterations_per_epoch
    found = {name: padded([getattr(iteration, name) for iteration in each], total) for name in ("loss", "grad_norm")}
    return {**found, "inner_norms": padded(layer_norms(run, history, shape), epochs)}


def padded(values: Any, n: int, axis: int = 0) -> NDArray[Any]:
    """Return the values with NaN up to ``n`` along an axis."""
    array = np.asarray(values, dtype=float)
    widths = [(0, n - size if i == axis % array.ndim else 0) for i, size in enumerate(array.shape)]
    return np.pad(array, widths, constant_values=np.nan)


def make(folder: Path, frame: pd.DataFrame) -> atlas.Atlas:
    """Return the atlas of a finished grid with this table of measurements."""
    plan = measurements.plan_of(frame)
    seeds = sorted(plan.seeds)
    runs = outcomes(frame, seeds)
    shown = runs["dead"].argmax(-1)  # the first dead run; without one, the first run
    which = shown.flatten()
    courses = [course(folder, place, seeds[i], plan.image_shape) for place, i in zip(tqdm(PLACES, "courses"), which)]
    most = max(each["inner_norms"].shape[-1] for each in courses)
    inner = {}
    for steps in STEPS:
        own = [each["inner_norms"] for place, each in zip(PLACES, courses) if place.steps == steps]
        together = np.stack([padded(x, most, -1) for x in own])
        inner[steps] = together.reshape(AXES[0], AXES[1], AXES[3], *together.shape[1:])
    cells = frame.attrs["cells"].values()
    versions = [dict(text) for text in sorted({tuple(cell["versions"].items()) for cell in cells})]
    return atlas.Atlas(
        networks={name: label for name, (label, _) in NETWORKS.items()},
        methods={name: label for name, (label, _, _) in METHODS.items()},
        steps=list(STEPS),
        rates=list(RATES),
        seeds=seeds,
        layers=[int((~np.isnan(inner[STEPS[0]][n, 0, 0, 0, 0])).sum()) for n in range(AXES[0])],
        why=[str(reasons[i]) for reasons, i in zip(runs["why"].reshape(-1, len(seeds)), which)],
        about={"versions": versions, "command": "mamlkit reproduce atlas", "data_sha256": plan.data_sha256},
        accuracy=runs["accuracy"].astype(float),
        dead=runs["dead"].astype(bool),
        largest=runs["largest"].astype(float),
        shown=shown,
        loss=np.stack([each["loss"] for each in courses]).reshape(*AXES, -1),
        grad_norm=np.stack([each["grad_norm"] for each in courses]).reshape(*AXES, -1),
        inner_norms=inner,
    )


def short(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table of measurements for the repository."""
    kept = frame[~frame.measure.isin(BY_TENSOR)]
    cells = {name: {key: record[key] for key in KEPT} for name, record in frame.attrs["cells"].items()}
    kept.attrs = frame.attrs | {"cells": cells}
    return kept


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Write both files."""
    frame = measurements.read(folder / "results.parquet")
    atlas.write(make(folder, frame))
    measurements.write(short(frame), RESULTS)
    click.echo(f"{atlas.FILE.name}: {atlas.FILE.stat().st_size} bytes; {RESULTS.name}: {RESULTS.stat().st_size} bytes")


if __name__ == "__main__":
    main()
