"""A real ``mamlkit dash`` for the browser tests, with folders of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import ROOT, free_port, wait_for

OTHER_PAGES = """
import sys
from pathlib import Path
from mamlkit.commands import dash
pages = Path(sys.argv.pop(1))
dash.pages_folder = lambda: pages
dash.command()
"""


def command(pages: Path | None) -> list[str]:
    """Return how to start ``mamlkit dash``, perhaps with pages that are not the kit's."""
    return (
        [sys.executable, "-m", "mamlkit", "dash"] if pages is None else [sys.executable, "-c", OTHER_PAGES, str(pages)]
    )


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a server that finds nothing of the user's own."""
    own = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    jupyter = {f"JUPYTER_{name}": str(home / folder) for name, folder in own.items()}
    ours = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(home / "ipython"), "MAMLKIT_CACHE": str(home / "cache")}
    return {**os.environ, **jupyter, **ours}


@contextmanager
def dash_server(home: Path, pages: Path | None = None) -> Iterator[str]:
    """Run ``mamlkit dash``, and yield its address; in the end it is stopped as Ctrl-C stops it."""
    port, log = free_port(), home / "log"
    with log.open("w") as stream:
        arguments = [*command(pages), "--no-browser", "--port", str(port)]
        server = subprocess.Popen(arguments, cwd=home, env=environment(home), stdout=stream, stderr=stream)
    try:
        wait_for(f"http://localhost:{port}/", log)
        yield f"http://localhost:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
