"""The results of the runs of a grid as one tidy table: one row for each measured value.

setting, label, recipe, seed     the run; ``label`` names the task too if the table has several tasks
dataset, n_way, k_shot, n_steps  its task, and its inner steps in training
measure                          name of the quantity in ``value``, see below
norm                             statistics that normalised the query set: batch or running
epoch, iteration                 from 1; the last meta-iteration of the epoch
step, tensor                     inner step, from 0; name of a parameter
value                            NaN if no measured value was finite
ci95, episodes                   half the 95 % interval of ``value`` over the episodes of one run, and their number
seconds, flop                    since the start of the run: training and validation; training alone, counted

    test accuracy                  fraction, of the ensemble; a row for each kind of statistics
    validation accuracy            fraction, after each epoch
    training loss                  nats, mean over an epoch
    meta-gradient norm             median over an epoch
    largest meta-gradient norm     of an epoch
    inner gradient norm            median over an epoch, for each step
    inner rate                     of the epoch that was best in validation, for each tensor and step, where learned
    largest inner gradient norm    of the run, for each tensor and step
    refused steps                  of the run: their meta-gradient was not finite
    time limit                     seconds; only for a run that reached it, and has no test accuracy
    minutes                        of the run: training, validation and test

A column that does not apply is null. The table's ``attrs``, also stored in the file, are ``plan``, the content of
``plan.json``, and ``cells``: name of each finished run -> its ``cell.json``, with versions and commit.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from mamlkit.core.errors import InputError
from mamlkit.core.schedules import step_config
from mamlkit.core.system.files import why, write_whole
from mamlkit.engines.work import iteration_flop
from mamlkit.runs.folder import RunFolder
from mamlkit.study.reproduction.cell import RECORD, RUN, folder_of, is_done
from mamlkit.study.reproduction.plan import Cell, Plan
from mamlkit.training import diagnostics
from mamlkit.training.history import EpochRecord, best_epochs

COLUMNS = {
    "setting": "string",
    "label": "string",
    "recipe": "string",
    "seed": "int64",
    "dataset": "string",
    "n_way": "int64",
    "k_shot": "int64",
    "n_steps": "int64",
    "measure": "string",
    "norm": "string",
    "epoch": "Int64",
    "iteration": "Int64",
    "step": "Int64",
    "tensor": "string",
    "value": "float64",
    "ci95": "Float64",
    "episodes": "Int64",
    "seconds": "Float64",
    "flop": "Float64",
}
Rows = Iterator[dict[str, Any]]


def collect(plan: Plan, folder: Path) -> pd.DataFrame:
    """Return the measurements of the finished runs of a grid, ordered by setting and seed.

    Args:
        plan: plan of the grid.
        folder: folder of the grid.

    Raises:
        InputError: a finished run has a damaged file.
    """
    order = [setting["name"] for setting in plan.settings]
    done = sorted((cell for cell in plan.cells if is_done(folder, cell)), key=lambda cell: order.index(cell.setting))
    names = labels(plan)
    records, rows = {}, []
    for cell in done:
        place = folder_of(folder, cell.name)
        records[cell.name] = _read_json(place / RECORD)
        about = _about(cell, names[cell.setting])
        rows += [{**about, **row} for row in _measured(place / RUN, plan.image_shape)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    frame.attrs = {"plan": json.loads(json.dumps(dataclasses.asdict(plan))), "cells": records}
    return frame


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write the table and its ``attrs`` as Parquet.

    Raises:
        InputError: the file cannot be written; no partial file is left.

    Writes: ``path``.
    """
    table = pa.Table.from_pandas(bare(frame), preserve_index=False)
    attrs = {"PANDAS_ATTRS": json.dumps(frame.attrs)}  # where pandas reads them; to_parquet would write them thrice
    stream = io.BytesIO()
    with pq.ParquetWriter(stream, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**table.schema.metadata, **attrs})
    write_whole(path, stream.getvalue())


def read(path: Path) -> pd.DataFrame:
    """Return a table written by ``write``.

    Raises:
        InputError: the file is missing, or is not a table of measurements.
    """
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError, ArrowException) as error:
        raise InputError(f"{path} cannot be read ({why(error)}); mamlkit reproduce writes it again") from error
    if list(frame) != list(COLUMNS) or not {"plan", "cells"} <= frame.attrs.keys():
        raise InputError(f"{path} is no table of measurements; give the results.parquet of mamlkit reproduce")
    return frame


def plan_of(frame: pd.DataFrame) -> Plan:
    """Return the plan of a table."""
    return Plan.from_dict(frame.attrs["plan"], "the table of measurements")


def bare(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of a table without its ``attrs``, which pandas copies at every operation."""
    copy = frame.copy()
    copy.attrs = {}
    return copy


def labels(plan: Plan) -> dict[str, str]:
    """Return the label of each setting, with its task if the plan has several."""
    configs = {setting["name"]: setting["config"] for setting in plan.settings}
    tasks = {name: f"{config['n_way']}-way {config['k_shot']}-shot" for name, config in configs.items()}
    several = len(set(tasks.values())) > 1
    return {s["name"]: f"{tasks[s['name']]}: {s['label']}" if several else s["label"] for s in plan.settings}


def _about(cell: Cell, label: str) -> dict[str, Any]:
    task = {key: cell.config[key] for key in ("dataset", "n_way", "k_shot", "n_steps")}
    return {"setting": cell.setting, "label": label, "recipe": cell.parameters["recipe"], "seed": cell.seed, **task}


def _measured(path: Path, image_shape: tuple[int, int, int]) -> Rows:
    run, result = RunFolder.open(path), _read_json(path / "result.json")
    history = run.history()
    try:
        if "stopped" in result:
            yield {"measure": "time limit", "value": 60 * result["minutes"]}
        for norm, test in result["evaluations"].items():
            test_row = {"norm": norm, "value": test["accuracy"], "ci95": test["ci95"], "episodes": test["episodes"]}
            yield {"measure": "test accuracy", **test_row}
        yield {"measure": "minutes", "value": result["minutes"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path / 'result.json'} is damaged ({error}); delete {path.parent}, and run it again"
        ) from error
    yield {"measure": "refused steps", "value": sum(record.nonfinite for record in history)}
    yield from _epochs(run, history, image_shape)
    yield from _largest(run, history, image_shape)
    if run.config.learn_inner_lrs and run.config.inner_lr_per == "tensor":
        [epoch] = best_epochs(history, 1)
        here = RunFolder(path, dataclasses.replace(run.config, device="cpu"), run.about)  # any device may have run it
        [learner] = here.learners([epoch], image_shape)
        for row in diagnostics.inner_rates(learner):
            yield {"measure": "inner rate", "epoch": epoch, "value": row.pop("rate"), **row}


def _epochs(run: RunFolder, history: list[EpochRecord], image_shape: tuple[int, int, int]) -> Rows:
    seconds = flop = 0.0
    for record in history:
        when = {"epoch": record.epoch, "iteration": record.iterations[-1].iteration}
        each = iteration_flop(run.config, step_config(run.config, record.epoch - 1), image_shape)
        seconds, flop = seconds + record.seconds, flop + each * len(record.iterations)
        test = record.validation
        validation = {"norm": test.norm, "value": test.accuracy, "ci95": test.ci95, "episodes": test.episodes}
        yield {"measure": "validation accuracy", **when, **validation, "seconds": seconds, "flop": flop}
        yield {"measure": "training loss", **when, "value": record.train_loss}
        norms = _finite([iteration.grad_norm for iteration in record.iterations])
        yield {"measure": "meta-gradient norm", **when, "value": statistics.median(norms)}
        yield {"measure": "largest meta-gradient norm", **when, "value": max(norms)}
        for step, column in enumerate(zip(*(iteration.inner_grad_norms for iteration in record.iterations))):
            yield {"measure": "inner gradient norm", **when, "step": step, "value": statistics.median(_finite(column))}


def _largest(run: RunFolder, history: list[EpochRecord], image_shape: tuple[int, int, int]) -> Rows:
    kept = [record.largest_inner_grad_norms for record in history if record.largest_inner_grad_norms]
    if kept and run.config.method == "maml":
        names = run.find_problem(image_shape).adapted
        for step, row in enumerate(np.max(kept, axis=0)):  # [E, K, P] -> [K, P]
            for name, value in zip(names, row):
                yield {"measure": "largest inner gradient norm", "step": step, "tensor": name, "value": float(value)}


def _finite(values: Any) -> list[float]:
    """Return the finite values, or only NaN if there are none."""
    return [value for value in values if math.isfinite(value)] or [math.nan]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({why(error)}); delete the folder of its cell, and run it again"
        ) from error
