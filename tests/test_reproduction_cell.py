"""One cell, really executed by papermill: what it leaves when it ends well, when it fails, and when its kernel dies."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from mamlkit.commands.course import notebooks_folder
from mamlkit.core.errors import InputError
from mamlkit.study.reproduction.cell import is_done, parameters_of, read_values, run_cell
from mamlkit.study.reproduction.plan import Cell

SEED_3 = Cell("some-seed3", "some", 3, {"seed": 3, "overrides": {"filters": 4}}, {})
BEGIN_A_RUN = """
from pathlib import Path
from mamlkit.core.config import Config
from mamlkit.datasets import load
from mamlkit.runs.folder import RunFolder
folder = RunFolder.create(Path(out), Config(seed=seed, **overrides), load("glyphs"), recipe="maml", command="")
folder.finish({})
"""


def notebook(code: str) -> str:
    """Return a notebook with parameters and one cell."""
    parameters = nbformat.v4.new_code_cell("seed = 0\noverrides = {}\nout = ''", metadata={"tags": ["parameters"]})
    whole = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(code)])
    whole.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.writes(whole)


def test_a_cell_leaves_its_notebook_its_run_and_its_record(tmp_path: Path) -> None:
    assert not is_done(tmp_path, SEED_3)
    outcome = run_cell(tmp_path, SEED_3, notebook(BEGIN_A_RUN))
    assert outcome.error == ""
    assert is_done(tmp_path, SEED_3)
    place = tmp_path / "cells" / "some-seed3"
    config = json.loads((place / "run" / "run.json").read_text("utf-8"))["config"]
    assert (config["seed"], config["filters"]) == (3, 4)
    record = json.loads((place / "cell.json").read_text("utf-8"))
    assert record["parameters"] == SEED_3.parameters
    assert len(record["notebook_sha256"]) == 64
    assert record["versions"].keys() >= {"mamlkit", "torch", "commit"}
    assert record["seconds"] > 0
    executed = nbformat.read(place / "notebook.ipynb", as_version=4)
    assert "seed = 3" in executed.cells[1].source


def test_a_cell_that_is_done_is_left_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "cells" / "some-seed3"
    (place / "run").mkdir(parents=True)
    for name in ("cell.json", "run/result.json"):
        (place / name).write_text("kept", "utf-8")
    assert run_cell(tmp_path, SEED_3, notebook("raise ValueError")).error == ""
    assert not (place / "notebook.ipynb").exists()


def test_relative_places_of_data_hold_in_the_folder_of_the_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAMLKIT_DATA", "mine")
    code = f"import os\nassert os.environ['MAMLKIT_DATA'] == {str(tmp_path / 'mine')!r}\n{BEGIN_A_RUN}"
    assert run_cell(tmp_path, SEED_3, notebook(code)).error == ""


def test_a_cell_that_fails_says_its_traceback_and_keeps_its_notebook(tmp_path: Path) -> None:
    outcome = run_cell(tmp_path, SEED_3, notebook("print('so far')\nraise ValueError(f'seed {seed} is unlucky')"))
    assert "ValueError: seed 3 is unlucky" in outcome.error
    assert not is_done(tmp_path, SEED_3)
    assert "so far" in (tmp_path / "cells" / "some-seed3" / "notebook.ipynb").read_text("utf-8")


def test_a_kernel_that_dies_is_a_failed_cell(tmp_path: Path) -> None:
    outcome = run_cell(tmp_path, SEED_3, notebook("import os\nos._exit(1)"))
    assert outcome.error.startswith("the notebook's kernel died: ")
    assert not is_done(tmp_path, SEED_3)


def test_the_parameters_of_notebook_09_are_those_that_a_plan_sets() -> None:
    known = parameters_of(notebooks_folder() / "09_reproduce.ipynb")
    assert {"recipe", "seed", "dataset", "fast", "out", "epochs", "overrides"} <= known.keys()


def test_values_are_read_as_yaml() -> None:
    pairs = (("epochs", "3"), ("overrides", "{filters: 16, max_pool: false}"), ("dataset", "glyphs"))
    expected = {"epochs": 3, "overrides": {"filters": 16, "max_pool": False}, "dataset": "glyphs"}
    assert read_values(pairs) == expected
    with pytest.raises(InputError, match=r"^a value of -p cannot be read: "):
        read_values([("overrides", "{filters: ")])
