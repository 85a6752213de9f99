"""``metrics.jsonl``: one line for each meta-iteration and one for each epoch."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from mamlkit.core.errors import InputError
from mamlkit.core.system.files import dump_json
from mamlkit.training.evaluation import Evaluation
from mamlkit.training.history import EpochRecord, Iteration

JSON_ERRORS = (ValueError, KeyError, TypeError, AttributeError)
EVALUATION_FIELDS = tuple(field.name for field in dataclasses.fields(Evaluation))


def encode(record: EpochRecord) -> bytes:
    """Return an epoch as JSON lines."""
    lines: list[dict[str, Any]] = [
        {"kind": "iteration", "epoch": record.epoch, **dataclasses.asdict(iteration)} for iteration in record.iterations
    ]
    values = {f"val_{name}": value for name, value in dataclasses.asdict(record.validation).items()}
    train = {"train_loss": record.train_loss, "train_accuracy": record.train_accuracy, "nonfinite": record.nonfinite}
    rest = {"seconds": record.seconds, "largest_inner_grad_norms": record.largest_inner_grad_norms}
    lines.append({"kind": "epoch", "epoch": record.epoch, **train, **values, **rest})
    return b"".join(dump_json(line) + b"\n" for line in lines)


def read(path: Path) -> list[EpochRecord]:
    """Return the complete epochs of a file, or none if there is no file; later lines are ignored.

    Raises:
        InputError: a line is damaged.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # a truncated line has no line break
    records: list[EpochRecord] = []
    iterations: list[Iteration] = []
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            if values.pop("kind") == "iteration":
                iterations.append(_to_iteration(values))
                continue
            validation = Evaluation(**{name: _number(values[f"val_{name}"]) for name in EVALUATION_FIELDS})
            largest = tuple(tuple(map(float, row)) for row in values.get("largest_inner_grad_norms", ()))
            epoch, seconds = len(records) + 1, values["seconds"]
            records.append(EpochRecord(epoch, tuple(iterations), validation, seconds, largest))
        except JSON_ERRORS as error:
            raise InputError(f"{path} is damaged at line {number} ({error})") from error
        iterations = []
    return records


def _to_iteration(values: dict[str, Any]) -> Iteration:
    del values["epoch"]
    norms = tuple(_number(norm) for norm in values.pop("inner_grad_norms"))
    return Iteration(inner_grad_norms=norms, **{name: _number(value) for name, value in values.items()})


def _number(value: Any) -> Any:
    return math.nan if value is None else value
