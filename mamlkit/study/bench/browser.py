"""Start Chromium, and run the notebooks that it shows in JupyterLab."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, BrowserType, Page

from mamlkit.core.errors import InputError

PATIENCE = 120  # seconds until a missing event is an error
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
KERNEL_IS_READY = """() => {
  const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
  return context?.isReady && context.session?.kernel?.status === "idle";
}"""


def launch(chromium: BrowserType, *flags: str) -> Browser:
    """Start the Chromium of the system, or else Playwright's own.

    Args:
        chromium: Playwright's ``chromium``.
        flags: further options of its command line.

    Raises:
        InputError: there is no Chromium.
    """
    found = next(filter(None, map(shutil.which, CHROMIUMS)), chromium.executable_path)
    if not Path(found).is_file():
        raise InputError("no Chromium was found; install the system's, or run: playwright install chromium")
    return chromium.launch(executable_path=found, args=[*FLAGS, *flags])


def write_empty(source: Path, target: Path, parameters: Mapping[str, Any] = {}) -> None:
    """Copy a notebook without its outputs, with changed parameters.

    Writes: ``target``.
    """
    notebook = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    nbformat.write(notebook, target)  # type: ignore[no-untyped-call]


def run_all(page: Page) -> None:
    """Run all cells of the notebook in JupyterLab; wait until each has run or is queued, or one has failed.

    Raises:
        InputError: some cells did not run.
    """
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.wait_for_function(KERNEL_IS_READY)
    page.evaluate("() => jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    for _ in range(PATIENCE // 2):
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
        if _all_run(page):
            return
    raise InputError("not every cell was run")


def _all_run(page: Page) -> bool:
    """Return whether JupyterLab accepted the command: it drops commands until the page is complete."""
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    failed = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
    too_early = page.locator(".jp-Dialog", has_text="wait for the complete rendering").locator(".jp-mod-accept")
    silent = 0
    while silent < 10:
        page.wait_for_timeout(200)
        texts = prompts.all_inner_texts()
        if all(re.search(r"\[\s*[0-9*]+\s*\]", text) for text in texts) or failed.count():
            return True
        if too_early.count():
            too_early.click()
            return False
        silent = 0 if any("*" in text for text in texts) else silent + 1
    return False
