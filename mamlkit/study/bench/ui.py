"""A reader's waits in a real browser and real kernels: strokes, sliders, pages, the import and the first figures."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
from nbformat import NotebookNode
from playwright.sync_api import Page, expect

from mamlkit.study.bench import gestures
from mamlkit.study.bench.browser import PATIENCE, run_all
from mamlkit.study.bench.stage import Stage, outputs_page
from mamlkit.study.reproduction.execution import execute

STROKE, SLIDER, ANSWER = "a stroke to its bars", "a slider to its picture", "a rate to the kernel's answer"
LIVE, READY = "a slider to the kernel's figure", "a page's address to its first answer"
IMPORT, FIRST = "import mamlkit to its end", "a notebook's start to its first figure"
BOUNDS = {STROKE: 150.0, SLIDER: 100.0, ANSWER: 200.0, LIVE: 600.0, IMPORT: 300.0, FIRST: 5000.0}  # milliseconds
WAYS = (5, 10)  # characters on the drawing pad
IMPORTING = """
import time
import numpy, torch
begin = time.perf_counter()
from mamlkit import Trainer
print(1e3 * (time.perf_counter() - begin))
"""


class Row(NamedTuple):
    """One kind of wait on one page.

    Attributes:
        what: a key of ``BOUNDS``, or ``READY``.
        where: the page.
        ms: milliseconds of each sample.
    """

    what: str
    where: str
    ms: tuple[float, ...]

    @property
    def median(self) -> float:
        """Milliseconds."""
        return float(np.median(self.ms))

    @property
    def p90(self) -> float:
        """The 90th percentile of the waits, milliseconds."""
        return float(np.percentile(self.ms, 90))

    @property
    def bound(self) -> float | None:
        """The upper bound of the course, milliseconds; None for a page's first answer."""
        return BOUNDS.get(self.what)

    @property
    def holds(self) -> bool | None:
        """Whether the 90th percentile is within the bound."""
        return None if self.bound is None else self.p90 <= self.bound

    def to_dict(self) -> dict[str, Any]:
        """Return all values in the form of the JSON file."""
        return {**self._asdict(), "median": self.median, "p90": self.p90, "bound": self.bound, "holds": self.holds}


def explorers(on: Stage) -> Iterator[Row]:
    """Yield a row for each notebook whose figures need no kernel, and for the page travel."""
    with on.page() as page, tempfile.TemporaryDirectory() as folder:
        for path in [*on.pages(), on.notebooks / "live" / "travel.ipynb"]:
            page.goto(outputs_page(path, Path(folder)))
            if waits := gestures.move_explorers(page, on.samples):
                yield Row(SLIDER, path.stem, tuple(waits))


def live_figure(on: Stage) -> Iterator[Row]:
    """Yield the row of the figure in notebook 01 that its kernel computes."""
    [path] = on.notebooks.glob("01_*.ipynb")
    with on.page() as page:
        on.jupyter.run(page, path)
        yield Row(LIVE, path.stem, tuple(gestures.move_live(page, on.samples)))


def strokes(on: Stage) -> Iterator[Row]:
    """Yield the rows of the drawing pad: few and many characters, after a stroke of the query and of a class."""
    for n_way in WAYS:
        with on.page() as page:
            on.jupyter.run(page, on.notebooks / "live" / "draw.ipynb", n_way=n_way)
            _answered(page)
            for slot in ("query", "class 1"):
                waits = gestures.draw_strokes(page, slot, on.samples)
                yield Row(STROKE, f"draw in JupyterLab, {n_way} characters, {slot}", tuple(waits))


def rates(on: Stage) -> Iterator[Row]:
    """Yield the rows of the inner rate's slider while the page watch trains, in JupyterLab and on the dashboard."""
    for host in ("JupyterLab", "the dashboard"):
        with on.page() as page:
            if host == "JupyterLab":
                on.jupyter.run(page, on.notebooks / "live" / "watch.ipynb")
            else:
                page.goto(on.dash.page("watch"))
            theatre = page.locator(gestures.THEATRE)
            expect(theatre.locator(".note")).to_contain_text("Press Start", timeout=1e3 * PATIENCE)
            theatre.get_by_role("button", name="Start", exact=True).click()
            expect(theatre.locator(".note")).to_contain_text("is training", timeout=1e3 * PATIENCE)
            own, answers = gestures.move_rate(page, on.samples)
            yield Row(SLIDER, f"watch in {host}, the rate's own number", tuple(own))
            yield Row(ANSWER, f"watch in {host}, while it trains", tuple(answers))


def pages(on: Stage) -> Iterator[Row]:
    """Yield the rows of the page draw, from its address to the answer to its example."""

    def in_jupyterlab(page: Page) -> None:
        on.jupyter.open(page, on.notebooks / "live" / "draw.ipynb")
        run_all(page)

    def on_dashboard(page: Page) -> None:
        page.goto(on.dash.page("draw"))

    for host, go in (("JupyterLab", in_jupyterlab), ("the dashboard", on_dashboard)):
        waits = []
        for _ in range(on.few):
            with on.page() as page:
                begin = time.perf_counter()
                go(page)
                _answered(page)
                waits.append(1e3 * (time.perf_counter() - begin))
        yield Row(READY, f"draw in {host}", tuple(waits))


def _answered(page: Page) -> None:
    said = page.locator(gestures.PAD).locator(".note")
    expect(said).to_contain_text("most likely", timeout=1e3 * PATIENCE)


def imports(on: Stage) -> Iterator[Row]:
    """Yield the row of the package's import in fresh processes, after the imports of torch and numpy."""
    command = [sys.executable, "-c", IMPORTING]
    environment = {**os.environ, "PYTHONPATH": on.jupyter.environment["PYTHONPATH"]}
    runs = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for _ in range(1 + on.few)  # the first may compile the package's files
    ]
    yield Row(IMPORT, "beyond torch and numpy", tuple(float(run.stdout) for run in runs[1:]))


def first_figures(on: Stage) -> Iterator[Row]:
    """Yield for each notebook the row of its first figure, from the start of its kernel, run by papermill."""
    for path in on.pages():
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        first = next(i for i, cell in enumerate(notebook.cells) if _shows_a_figure(cell))
        notebook.cells = notebook.cells[: first + 1]
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / path.name
            yield Row(FIRST, path.stem, tuple(_papermill_ms(notebook, place) for _ in range(on.few)))


def _shows_a_figure(cell: Any) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def _papermill_ms(notebook: NotebookNode, path: Path) -> float:
    ran = execute(notebook, path, {"fast": True})
    begin, end = ran.metadata.papermill.start_time, ran.metadata.papermill.end_time
    return 1e3 * (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


PARTS: Sequence[tuple[str, Callable[[Stage], Iterator[Row]]]] = (
    ("explorers", explorers),
    ("live figure", live_figure),
    ("drawing pad", strokes),
    ("training theatre", rates),
    ("pages", pages),
    ("import", imports),
    ("first figures", first_figures),
)
