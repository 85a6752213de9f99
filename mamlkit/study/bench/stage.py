"""Where the waits of a reader are measured: Chromium, JupyterLab and the dashboard, on a machine more or less busy."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

from mamlkit.study.bench.browser import PATIENCE, Jupyter, dash_server, jupyter_server, launch

FEW = 3  # samples at most of what takes seconds
FAREWELL = 300  # milliseconds for a page to tell the server that it is left
BUSY = 0.2  # share of the processors' time that others use, from which on a machine is called busy


class Stage(NamedTuple):
    """Where everything is measured: a browser, two servers, the notebooks, and how many samples are taken."""

    browser: Browser
    jupyter: Jupyter
    dash: str
    notebooks: Path
    samples: int

    @property
    def few(self) -> int:
        """Samples of what takes seconds."""
        return min(self.samples, FEW)

    def pages(self) -> list[Path]:
        """Return the notebooks of the course."""
        return sorted(self.notebooks.glob("*.ipynb"))

    @contextlib.contextmanager
    def page(self) -> Iterator[Page]:
        """Open a page, and leave it in the end as a reader does: its kernel ends."""
        with self.browser.new_context(viewport={"width": 1200, "height": 900}) as context:
            context.set_default_timeout(1e3 * PATIENCE)
            page = context.new_page()
            yield page
            page.goto("about:blank")
            page.wait_for_timeout(FAREWELL)
        self.jupyter.rest()


@contextlib.contextmanager
def stage(notebooks: Path, samples: int) -> Iterator[Stage]:
    """Start Chromium, JupyterLab and the dashboard.

    Args:
        notebooks: folder of the course.
        samples: of each row, at most.

    Raises:
        InputError: one of them cannot be started.
    """
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mamlkit-bench-")))
        browser = stack.enter_context(launch(stack.enter_context(sync_playwright())))
        for name in ("jupyter", "dash"):
            (home / name).mkdir()
        jupyter = stack.enter_context(jupyter_server(home / "jupyter"))
        dash = stack.enter_context(dash_server(home / "dash"))
        yield Stage(browser, jupyter, dash, notebooks, samples)


def outputs_page(notebook: Path, folder: Path) -> str:
    """Write the HTML outputs of a notebook into one page that needs no kernel, and return its address."""
    cells = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
    outputs = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.get("outputs", [])]
    file = folder / f"{notebook.stem}.html"
    file.write_text("<!doctype html><meta charset=utf-8>" + "".join(outputs), encoding="utf-8")
    return file.as_uri()
