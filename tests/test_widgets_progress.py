"""A bar follows what is done, in one output that ends empty."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient

CODE = """from mamlkit.show.widgets import show_progress
done = show_progress(3)
for count in range(1, {last}):
    done(count)"""


def run(last: int) -> list[str]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE.format(last=last))])
    [cell] = NotebookClient(notebook, timeout=600).execute().cells
    return [output.data["text/html"] for output in cell.outputs]


def test_in_the_middle_the_bar_says_how_much_is_done() -> None:
    assert run(3) == ["<progress value=2 max=3></progress>"]


def test_in_the_end_the_one_output_is_empty() -> None:
    assert run(4) == [""]
