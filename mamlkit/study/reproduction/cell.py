"""One cell of a grid: notebook 09, executed by papermill with its own parameters, and its record.

In a table of hundreds of short runs a cell is trained without a notebook; otherwise its folder is the same.

notebook.ipynb  the executed notebook; if the cell failed, up to the failure
run/            the run, see ``mamlkit.runs.folder``: metrics, resolved configuration, checkpoints, result
cell.json       parameters, versions, data set, git commit and seconds; written last, so that its presence means done
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from nbconvert.filters import strip_ansi
from papermill.exceptions import PapermillExecutionError

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import write_whole
from mamlkit.core.system.locks import lock
from mamlkit.core.system.versions import versions
from mamlkit.runs.folder import RunFolder
from mamlkit.study.reproduction import training
from mamlkit.study.reproduction.execution import execute
from mamlkit.study.reproduction.plan import Cell

RECORD = "cell.json"
NOTEBOOK = "notebook.ipynb"
RUN = "run"
PLACES = ("MAMLKIT_DATA", "MAMLKIT_CACHE")
FOR_EVER = -1


@dataclass(frozen=True)
class Outcome:
    """The end of a cell.

    Attributes:
        cell: name of the cell.
        error: empty if the cell is done; otherwise the notebook's traceback.
    """

    cell: str
    error: str = ""


def folder_of(folder: Path, name: str) -> Path:
    """Return the folder of a cell inside the folder of its grid."""
    return folder / "cells" / name


def is_done(folder: Path, cell: Cell) -> bool:
    """Return whether a cell has its record and its result."""
    place = folder_of(folder, cell.name)
    return (place / RECORD).is_file() and (place / RUN / "result.json").is_file()


def parameters_of(notebook: Path) -> dict[str, Any]:
    """Return the parameters of a notebook, by name."""
    return dict(papermill.inspect_notebook(str(notebook)))


def read_values(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Parse parameters from the command line; their values are read as YAML.

    Raises:
        InputError: a value is not YAML.

    >>> read_values([("epochs", "3"), ("overrides", "{filters: 16}")])
    {'epochs': 3, 'overrides': {'filters': 16}}
    """
    try:
        return {name: yaml.safe_load(value) for name, value in pairs}
    except yaml.YAMLError as error:
        raise InputError(f"a value of -p cannot be read: {' '.join(str(error).split())}") from error


def run_cell(folder: Path, cell: Cell, notebook: str) -> Outcome:
    """Execute notebook 09 with the parameters of a cell, or train it; a killed cell continues from its last epoch.

    If another worker is still running the cell, wait for it. A finished cell is left unchanged.

    Args:
        folder: of the grid.
        cell: the cell.
        notebook: the notebook as JSON text; empty: train the cell without a notebook.

    Raises:
        InputError: the record cannot be written.

    Writes: the folder of the cell.
    """
    with lock(folder_of(folder, cell.name), "mamlkit reproduce", seconds=FOR_EVER):
        return Outcome(cell.name) if is_done(folder, cell) else _execute(folder, cell, notebook)


def _execute(folder: Path, cell: Cell, notebook: str) -> Outcome:
    place, begin = folder_of(folder, cell.name).absolute(), time.perf_counter()
    for name in PLACES:  # the kernel works in the folder of the cell
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    try:
        if notebook:
            source = nbformat.reads(notebook, as_version=4)  # type: ignore[no-untyped-call]
            execute(source, place / NOTEBOOK, {**cell.parameters, "out": RUN})
        else:
            training.train(place / RUN, Config(**cell.config), cell.parameters["recipe"])
    except InputError as error:
        return Outcome(cell.name, str(error))
    except PapermillExecutionError as error:
        return Outcome(cell.name, strip_ansi("\n".join(error.traceback)))  # type: ignore[no-untyped-call]
    except DeadKernelError as error:
        return Outcome(cell.name, f"the notebook's kernel died: {error}")
    record = {
        "cell": cell.name,
        "setting": cell.setting,
        "seed": cell.seed,
        "parameters": cell.parameters,
        "notebook_sha256": hashlib.sha256(notebook.encode()).hexdigest() if notebook else "",
        "data_sha256": RunFolder.open(place / RUN).about["data_sha256"],
        "versions": versions(),
        "seconds": round(time.perf_counter() - begin, 1),
    }
    write_whole(place / RECORD, json.dumps(record, indent=1).encode())
    return Outcome(cell.name)
