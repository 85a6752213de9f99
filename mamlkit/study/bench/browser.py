"""Start Chromium, JupyterLab and the dashboard for a measurement or a test, and end them with all their kernels."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

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
JUPYTERLAB = (
    "--no-browser",
    "--allow-root",
    "--ip=127.0.0.1",
    "--IdentityProvider.token=",
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.extension_manager=readonly",
    "--ServerApp.disable_check_xsrf=True",  # for ``Jupyter.rest``
)
DASHBOARD = (sys.executable, "-m", "mamlkit", "dash")
_SOURCE = Path(__file__).resolve().parents[3]  # the folder that holds the package
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


def free_port() -> int:
    """Return a port that no program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Jupyter(NamedTuple):
    """A Jupyter server: its address, its folder, and the environment of its processes."""

    address: str
    work: Path
    environment: dict[str, str]

    def kernels(self) -> list[str]:
        """Return the identifiers of the running kernels."""
        with urllib.request.urlopen(f"{self.address}/api/kernels", timeout=60) as answer:
            return [each["id"] for each in json.load(answer)]

    def rest(self, spared: Sequence[str] = ()) -> None:
        """End every kernel except the ``spared`` ones, even if it is computing."""
        for kernel in set(self.kernels()) - set(spared):
            request = urllib.request.Request(f"{self.address}/api/kernels/{kernel}", method="DELETE")
            urllib.request.urlopen(request, timeout=60).close()

    def open(self, page: Page, notebook: Path, **parameters: Any) -> None:
        """Open a copy of a notebook in JupyterLab, without outputs, with new parameters; wait for its kernel."""
        copy = self.work / f"{len(list(self.work.iterdir())):03}_{notebook.name}"
        write_empty(notebook, copy, parameters)
        self.show(page, copy.name)

    def show(self, page: Page, name: str) -> None:
        """Show a notebook of the folder in JupyterLab, and wait for its kernel, which starts after the page."""
        page.goto(f"{self.address}/lab/tree/{name}?reset")
        page.wait_for_function(KERNEL_IS_READY)

    def run(self, page: Page, notebook: Path, **parameters: Any) -> None:
        """Open a notebook with ``open``, and run all its cells."""
        self.open(page, notebook, **parameters)
        run_all(page)


@contextlib.contextmanager
def jupyter_server(home: Path) -> Iterator[Jupyter]:
    """Run JupyterLab with its extensions for Notebook 7 and Voila, and without the user's own settings.

    Args:
        home: an empty folder for the settings and the notebooks.

    Raises:
        InputError: the server does not start.
    """
    work = home / "work"
    work.mkdir()
    settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # put all cells into the page
    (home / "config" / "labconfig").mkdir()
    no_news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (home / "config" / "labconfig" / "page_config.json").write_text(json.dumps(no_news))
    port, own = free_port(), own_environment(home)
    command = [sys.executable, "-m", "jupyterlab", *JUPYTERLAB, f"--port={port}", f"--notebook-dir={work}"]
    with running(command, home, f"http://127.0.0.1:{port}/api", signal.SIGTERM):
        yield Jupyter(f"http://127.0.0.1:{port}", work, own)


class Dash(NamedTuple):
    """A running ``mamlkit dash``.

    Attributes:
        port: the port on this machine.
        token: the token that opens it.
    """

    port: int
    token: str

    @property
    def list(self) -> str:
        """The address of the list of pages."""
        return f"http://localhost:{self.port}/?token={self.token}"

    def page(self, name: str, **query: str) -> str:
        """Return the address of a page."""
        return f"http://localhost:{self.port}/voila/render/{name}.ipynb?{urlencode({**query, 'token': self.token})}"


@contextlib.contextmanager
def dash_server(home: Path, command: Sequence[str] = DASHBOARD, *options: str) -> Iterator[Dash]:
    """Run ``mamlkit dash`` and yield its place; at the end, stop it as Ctrl-C does.

    Args:
        home: an empty folder for the settings.
        command: the command that starts it.
        options: further options of the command; ``PORT`` in them becomes the port.

    Raises:
        InputError: the server does not start.
    """
    dash = Dash(free_port(), secrets.token_hex(8))
    more = [option.replace("PORT", str(dash.port)) for option in options]
    whole = [*command, "--no-browser", "--port", str(dash.port), *more]
    with running(whole, home, dash.list, signal.SIGINT, JUPYTER_TOKEN=dash.token):
        yield dash


def own_environment(home: Path) -> dict[str, str]:
    """Return the environment variables of a server and its kernels that hide the user's own settings."""
    folders = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    jupyter = {f"JUPYTER_{name}": str(home / folder) for name, folder in folders.items()}
    return {**jupyter, "PYTHONPATH": str(_SOURCE), "IPYTHONDIR": str(home / "ipython")}


@contextlib.contextmanager
def running(
    command: Sequence[str], home: Path, address: str, farewell: signal.Signals, **variables: str
) -> Iterator[None]:
    """Run a server until the end, without the user's own settings.

    Args:
        command: the command that starts it.
        home: its folder, also for its settings and its ``log``.
        address: an address that answers as soon as the server is ready.
        farewell: the signal that ends it.
        variables: further environment variables.

    Raises:
        InputError: the server does not start.
    """
    log = home / "log"
    with log.open("w") as stream:
        environment = {**os.environ, **own_environment(home), **variables}
        server = subprocess.Popen(command, cwd=home, env=environment, stdout=stream, stderr=stream)
    try:
        wait_for(address, server, log)
        yield
    finally:
        server.send_signal(farewell)
        server.wait(PATIENCE)


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers.

    Args:
        address: the address to ask.
        server: its process.
        log: its output, for the error message.

    Raises:
        InputError: the server ended, or does not answer.
    """
    for _ in range(10 * PATIENCE):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address, timeout=2).close()
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise InputError(f"the server {address} did not start: {log.read_text('utf-8', 'replace')[-2000:]}")


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
