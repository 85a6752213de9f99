"""A notebook, really executed: in its own folder, with its parameters, without a word of its kernel's."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from papermill.exceptions import PapermillExecutionError
from test_reproduction_cell import notebook

from mamlkit.study.reproduction.execution import execute


def test_a_notebook_is_executed_in_its_own_folder_with_its_parameters(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.ipynb"
    done = execute(nbformat.reads(notebook("import os\nprint(os.getcwd(), seed)"), as_version=4), path, {"seed": 7})
    assert done.cells[-1].outputs[0].text == f"{tmp_path.resolve()} 7\n"
    assert nbformat.read(path, as_version=4).cells[-1].outputs == done.cells[-1].outputs
    assert capfd.readouterr() == ("", "")


def test_a_cell_that_raises_leaves_the_notebook_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.ipynb"
    with pytest.raises(PapermillExecutionError, match="unlucky"):
        execute(nbformat.reads(notebook("raise ValueError('unlucky')"), as_version=4), path, {"seed": 7})
    assert "unlucky" in path.read_text("utf-8")
