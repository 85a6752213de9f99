"""Start JupyterLab and the dashboard for a measurement or a test, and end them with all their kernels."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from playwright.sync_api import Page

from mamlkit.core.errors import InputError
from mamlkit.study.bench.browser import KERNEL_IS_READY, PATIENCE, run_all, write_empty

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
