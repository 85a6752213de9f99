"""The set-up for measuring a reader's waits: Chromium, JupyterLab and the dashboard, on a more or less busy machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

from mamlkit.study.bench.browser import PATIENCE, launch
from mamlkit.study.bench.servers import Dash, Jupyter, dash_server, jupyter_server

FEW = 3  # largest number of samples of measurements that take seconds
FAREWELL = 300  # milliseconds for a page to tell the server that the reader has left it
BUSY = 0.2  # from this share of the processors' time, used by others, a machine is called busy


class Stage(NamedTuple):
    """The set-up of the measurements: a browser, two servers, the notebooks, and the number of samples."""

    browser: Browser
    jupyter: Jupyter
    dash: Dash
    notebooks: Path
    samples: int

    @property
    def few(self) -> int:
        """The number of samples of measurements that take seconds."""
        return min(self.samples, FEW)

    def pages(self) -> list[Path]:
        """Return the notebooks of the course."""
        return sorted(self.notebooks.glob("*.ipynb"))

    @contextlib.contextmanager
    def page(self) -> Iterator[Page]:
        """Open a page, and leave it at the end as a reader does: its kernel ends."""
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
        samples: maximum number of samples for each row.

    Raises:
        InputError: one of them cannot be started.
    """
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mamlkit-bench-")))
        browser = stack.enter_context(launch(stack.enter_context(sync_playwright()).chromium))
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
