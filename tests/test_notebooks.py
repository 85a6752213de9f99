"""The course: what every notebook must hold, that each runs with other parameters, and that its outputs are its own.

The notebooks are built from ``notebooks/source`` by ``notebooks/build.py``, once with empty exercises and once solved.
"""

from __future__ import annotations

import ast
import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import papermill
import pytest
from nbval_figures import difference, figures
from PIL import Image
from scripts import load_script

import mamlkit.show.widgets
from mamlkit.show.course.exercise import EXERCISES
from mamlkit.show.widgets.explorer import EXPORT
from mamlkit.study.reproduction.execution import STARTS

ROOT = Path(__file__).parents[1]
SANITIZER = Path(__file__).with_name("nbval_sanitize.cfg")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
PAGES = sorted((ROOT / "notebooks" / "live").glob("*.ipynb"))
QUICK = ("00", "01", "dr")  # their names begin so; draw is a live page
ODD = {  # one unusual set of parameters for each notebook
    "00_welcome": {"seed": 3, "n_way": 3, "n_places": 2},
    "01_maml_from_scratch": {"seed": 3, "k_shot": 5, "n_steps": 4, "inner_lr": 0.02},
    "02_episodes": {"seed": 3, "n_way": 3, "k_shot": 2, "q_query": 1, "n_places": 2},
    "03_exploding_gradients": {"seed": 3, "n_way": 4, "n_steps": 6, "inner_lr": 0.2},
    "04_multi_step_loss": {"seed": 3, "n_way": 3, "n_steps": 3, "inner_lr": 0.4, "ramp": 4, "k_shot": 2},
    "05_derivative_order": {"seed": 3, "n_way": 3, "n_steps": 3, "inner_lr": 0.2, "k_shot": 2},
    "06_batch_norm": {"seed": 3, "n_tasks": 4, "n_episodes": 10},
    "07_learning_rates": {"seed": 3, "n_way": 3, "n_steps": 3},
    "08_maml_plus_plus": {"seed": 3, "n_way": 3, "n_steps": 3},
    "09_reproduce": {"seed": 3, "recipe": "anil", "n_way": 3, "k_shot": 2, "epochs": 1, "iterations_per_epoch": 2},
    "10_your_own_data": {"seed": 3, "k_shot": 2, "q_query": 2, "n_places": 2},
    "11_extend_it": {"seed": 3, "n_way": 4, "k_shot": 2, "n_steps": 3},
}
ODD_PAGES = {  # and for each live page
    "draw": {"seed": 3, "n_way": 10},
    "play": {"seed": 3, "n_rounds": 2, "n_way": 7},
    "travel": {"seed": 3},
    "wall": {"seed": 3, "n_way": 10},
    "watch": {"seed": 3, "n_way": 3, "filters": 8},
}
FORBIDDEN = (r";[ \t]*$", r"\bOutput\(", r"\binteract\(", r"\binteractive_output\(", r"\bclear_output\(", r"^[%!]")
LINK = re.compile(r"\]\(([^)\s]+)\)")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def name_of(path: Path) -> str:
    """Return a notebook's name, with its folder where that is not the course's."""
    return path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()


each_page = pytest.mark.parametrize("path", PAGES, ids=name_of)
each_file = pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS, *PAGES], ids=name_of)
builder = load_script(ROOT / "notebooks" / "build.py")


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def sources(path: Path, kind: str) -> list[str]:
    return [cell.source for cell in read(path).cells if cell.cell_type == kind]


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of this Python outside of pytest's own warnings-are-errors, with the package importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]))
    env = {**os.environ, "PYTHONPATH": path, "IPYTHONDIR": str(folder / "ipython"), "OMP_NUM_THREADS": "1"}
    for _ in range(STARTS):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=env, capture_output=True, text=True, timeout=280
        )
        if "Kernel died before replying" not in done.stdout + done.stderr:  # another process had taken its port
            break
    return done


def run_nbval(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    options = [
        "-c",
        os.devnull,
        "--rootdir",
        str(path.parent),
        "-p",
        "no:cacheprovider",
        "-p",
        "nbval_figures",
        "-q",
        "--nbval-cell-timeout=120",
    ]
    return run("pytest", "--nbval", str(path), f"--nbval-sanitize-with={SANITIZER}", *options, folder=folder)


def test_every_notebook_has_an_odd_set_of_parameters() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(ODD)
    assert [path.stem for path in PAGES] == list(ODD_PAGES)


@each_notebook
def test_the_head_says_title_objectives_minutes_and_prerequisites(path: Path) -> None:
    head = sources(path, "markdown")[0]
    assert head.startswith(f"# {path.stem[:2]} ")
    assert re.search(r"\*\*Minutes:\*\* \d+", head)
    assert "**Prerequisites:**" in head
    assert "**Objectives.**" in head


@each_notebook
def test_the_text_explains_asks_runs_and_ends_in_recap_and_references(path: Path) -> None:
    text = "\n".join(sources(path, "markdown"))
    for mark in (
        "## Set-up",
        "**Explain.**",
        "**Predict.**",
        "**Run",
        "explore.**",
        "heck.**",
        "## Recap",
        "## References",
    ):
        assert mark in text, f"{path.name} has no {mark}"
    for question in re.findall(r"\*\*Predict\.\*\*(.*?)(?:\n\n|\Z)", text, re.DOTALL):
        assert "?" in question, f"{path.name} predicts without a question: {question}"


@each_page
def test_the_head_of_a_live_page_says_title_and_minutes(path: Path) -> None:
    head = sources(path, "markdown")[0]
    assert re.match(r"# [A-Z][^\n]+\n\n\*\*Minutes:\*\* \d+\. [A-Z]", head)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=name_of)
def test_the_parameters_are_literals_with_seed_and_fast(path: Path) -> None:
    tagged = [cell for cell in read(path).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(tagged[0].source).body}
    assert {"seed", "fast"} <= values.keys()
    assert values["fast"] is True
    assert values.get("dataset", "glyphs") == "glyphs"  # the committed outputs need no download


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=name_of)
def test_the_code_keeps_to_what_a_strict_comparison_of_outputs_allows(path: Path) -> None:
    for source in sources(path, "code"):
        for pattern in FORBIDDEN:
            assert not re.search(pattern, source, re.MULTILINE), f"{path.name}: {pattern} in\n{source}"
        for line in source.splitlines():
            assert len(line) <= 120, f"{path.name}: a line of {len(line)} characters: {line}"


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=name_of)
def test_functions_are_short_and_do_not_redefine_the_package(path: Path) -> None:
    package = {
        node.name
        for room in ("core", "training")
        for file in (ROOT / "mamlkit" / room).glob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    for source in sources(path, "code"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                assert node.end_lineno - node.lineno < 15, f"{path.name}: {node.name} is longer than 15 lines"
                assert node.name not in package, f"{path.name} redefines {node.name}"


@each_file
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall("\n".join(sources(path, "markdown"))):
        assert target.startswith("https://") or (path.parent / target).is_file(), f"{path.name}: {target} leads nowhere"


@each_notebook
def test_there_are_two_exercises_with_hints_and_the_solutions_are_right(path: Path) -> None:
    code = "\n".join(sources(path, "code"))
    asked = re.findall(r'^check\("([\d.]+)", (\w+)\)', code, re.MULTILINE)
    assert len(asked) >= 2
    assert "from mamlkit.show.course import check, hint" in code  # a hint is asked for by taking a # away
    assert {number for number, _ in asked} == {
        number for number in EXERCISES if number.startswith(f"{int(path.stem[:2])}.")
    }
    solved = printed(path.parent / "solutions" / path.name)
    for number, _ in asked:
        assert f'hint("{number}")' in code
        assert f"Exercise {number} is still empty: write " in printed(path)
        assert f"Exercise {number} is right.\n" in solved


@each_file
def test_the_committed_figures_have_the_packages_script_and_style(path: Path) -> None:
    for kind, page, _ in figures(read(path)):
        explorer = getattr(mamlkit.show.widgets, kind)
        assert explorer._css in page
        assert explorer._esm.replace(EXPORT, "") in page


def printed(path: Path) -> str:
    return "".join(output.get("text", "") for cell in read(path).cells for output in cell.get("outputs", []))


def test_the_course_has_twelve_notebooks_a_source_and_a_solution_for_each() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(12)]
    assert [path.stem for path in NOTEBOOKS] == [path.stem for path in SOLUTIONS] == builder.names()
    assert [name_of(path) for path in PAGES] == builder.pages()


@each_file
def test_a_notebook_is_what_its_source_builds(path: Path) -> None:
    built = builder.build(name_of(path).removeprefix("solutions/"), solved=path in SOLUTIONS)
    committed = read(path)
    assert built.metadata == committed.metadata
    keys = ("id", "cell_type", "metadata", "source")
    assert [[cell[key] for key in keys] for cell in built.cells] == [
        [cell[key] for key in keys] for cell in committed.cells
    ]


@pytest.mark.parametrize(
    ("solved", "expected"), [(False, "    ...  # your code here: a sum\n"), (True, "    return x + y\n")]
)
def test_an_answer_is_taken_out_or_left_in(solved: bool, expected: str, tmp_path: Path, monkeypatch) -> None:
    source = "# %%\ndef add(x, y):\n    # answer: a sum\n    return x + y\n    # end of answer\n\n\nadd(1, 2)\n"
    (tmp_path / "00_one.py").write_text(source)
    monkeypatch.setattr(builder, "SOURCES", tmp_path)
    [cell] = builder.build("00_one", solved=solved).cells
    assert cell.source == f"def add(x, y):\n{expected}\n\nadd(1, 2)"


@each_file
def test_the_committed_file_is_executed_in_order_small_and_portable(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info.name == "python"
    assert path.stat().st_size < 400_000
    assert not any("papermill" in cell.metadata or "execution" in cell.metadata for cell in notebook.cells)


@each_file
def test_committed_outputs_have_no_error_address_or_path_and_no_blank_picture(path: Path) -> None:
    pictures = 0
    for cell in read(path).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            assert builder.NEEDS_A_KERNEL not in output.get("data", {})
            said = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            assert not re.search(r"0x[0-9a-f]{6,}|(^|\s)/\w+/", said), said
            if "image/png" in output.get("data", {}):
                image = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
                assert np.asarray(image.convert("L")).std() > 5
                pictures += 1
    assert pictures >= 1


def papermill_run(path: Path, folder: Path, odd: dict[str, object]) -> Path:
    """Run a notebook with papermill, with parameters that it has, and return the result."""
    values = {"fast": True, **odd}
    known = papermill.inspect_notebook(str(path))
    assert values.keys() <= known.keys(), f"{path.name} has no parameter {values.keys() - known.keys()}"
    target = folder / path.name
    given = [part for name, value in values.items() for part in ("-p", name, str(value))]
    done = run("papermill", str(path), str(target), "--no-progress-bar", "-k", "python3", *given, folder=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return target


@pytest.mark.long
@each_page
def test_a_live_page_runs_through_with_odd_parameters(path: Path, tmp_path: Path) -> None:
    papermill_run(path, tmp_path, ODD_PAGES[path.stem])


@pytest.mark.long
@each_notebook
def test_a_notebook_runs_through_with_odd_parameters_and_its_exercises_empty(path: Path, tmp_path: Path) -> None:
    exercises_are_empty(printed(papermill_run(path, tmp_path, ODD[path.stem])))


def exercises_are_empty(said: str) -> None:
    assert said.count("is still empty: write ") == said.count("Exercise ") >= 2


@each_notebook
def test_the_committed_exercises_are_empty(path: Path) -> None:
    exercises_are_empty(printed(path))


@pytest.mark.parametrize(
    "path",
    [
        path if path not in SOLUTIONS and path.stem[:2] in QUICK else pytest.param(path, marks=pytest.mark.long)
        for path in (*NOTEBOOKS, *PAGES, *SOLUTIONS)
    ],
    ids=name_of,
)
def test_committed_outputs_come_out_again(path: Path, tmp_path: Path) -> None:
    done = run_nbval(path, tmp_path)
    assert done.returncode == 0, done.stdout[-5000:]


EXPLORER = """import IPython.display
import numpy as np
from mamlkit.show.widgets import FitExplorer
x = np.linspace(-1, 1, 5)
explorer = FitExplorer(x, x, {"a": np.outer([1, 2.0], x)}, losses={"a": np.ones(2)}, support=(x, x))
IPython.display.HTML(explorer.html())"""


def shown_by(code: str) -> nbformat.NotebookNode:
    """Return the output of a cell that shows an explorer."""
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    data = {"text/html": namespace["explorer"].html(), "text/plain": "<IPython.core.display.HTML object>"}
    return nbformat.v4.new_output("execute_result", data, execution_count=1)


@pytest.mark.parametrize(("number", "found"), [("2.0", ""), ("2.00001", ""), ("2.1", "FitExplorer: fits")])
def test_numbers_of_explorers_differ_where_they_do_not_round_alike(number: str, found: str) -> None:
    assert difference([shown_by(EXPLORER.replace("2.0", number))], [shown_by(EXPLORER)]) == found


def test_the_comparison_of_outputs_refuses_an_explorer_of_other_numbers(tmp_path: Path) -> None:
    outputs = [shown_by(EXPLORER)]
    cell = nbformat.v4.new_code_cell(EXPLORER.replace("2.0", "2.1"), execution_count=1, outputs=outputs)
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata=read(NOTEBOOKS[0]).metadata)
    nbformat.write(notebook, tmp_path / "one.ipynb")
    done = run_nbval(tmp_path / "one.ipynb", tmp_path)
    assert done.returncode != 0
    assert "other numbers in FitExplorer: fits" in done.stdout


@pytest.mark.parametrize(("committed", "refused"), [("loss 0.12", False), ("loss 0.13", True)])
def test_the_comparison_of_outputs_refuses_another_number(committed: str, refused: bool, tmp_path: Path) -> None:
    output = nbformat.v4.new_output("stream", name="stdout", text=f"{committed}\n")
    cell = nbformat.v4.new_code_cell("print('loss 0.12')", execution_count=1, outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata=read(NOTEBOOKS[0]).metadata)
    nbformat.write(notebook, tmp_path / "one.ipynb")
    assert (run_nbval(tmp_path / "one.ipynb", tmp_path).returncode != 0) == refused
