"""A ``mamlkit dash`` with other pages than the kit's, and the kernels of a dashboard."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from mamlkit.study.bench.servers import Dash

OTHER_PAGES = """
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from mamlkit.commands import dash
pages = Path(sys.argv.pop(1))
dash.pages_folder = lambda: pages
dash.command()
"""


def command(pages: Path) -> list[str]:
    """Return how to start ``mamlkit dash`` with pages that are not the kit's."""
    return [sys.executable, "-c", OTHER_PAGES, str(pages)]


def kernels(dash: Dash) -> set[psutil.Process]:
    """Return the kernels that a server runs."""
    [server] = [one for one in psutil.Process().children() if str(dash.port) in one.cmdline()]
    return {one for one in server.children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE}


@contextlib.contextmanager
def kernels_end(dash: Dash) -> Iterator[None]:
    """Wait in the end for the new kernels, whose pages have said goodbye; one whose page was left too early stays."""
    before = kernels(dash)
    yield
    psutil.wait_procs(kernels(dash) - before, timeout=20)
