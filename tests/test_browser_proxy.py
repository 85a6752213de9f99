"""``mamlkit dash`` behind a real jupyter-server-proxy, at a prefix as on a JupyterHub."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import nbformat
import pytest
from browser import moves_with_its_kernel
from dash_server import command
from playwright.sync_api import Page, expect
from test_browser_dash import LIVE

from mamlkit.study.bench.servers import JUPYTERLAB, dash_server, free_port, running

pytest.importorskip("jupyter_server_proxy", reason="the test extra is not installed")
pytestmark = pytest.mark.long
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


@pytest.fixture(scope="module", params=["proxy", "proxy/absolute"])
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a dashboard behind a proxy that takes the prefix away, and behind one that leaves it."""
    home, port = tmp_path_factory.mktemp("hub"), free_port()
    (home / "live").mkdir()
    (home / "dash").mkdir()
    cells = [nbformat.v4.new_markdown_cell("# A page\n\n**Minutes:** 1. Look."), nbformat.v4.new_code_cell(LIVE)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), home / "live" / "one.ipynb")
    hub = f"http://localhost:{port}/user/x/"
    jupyter = [sys.executable, "-m", "jupyterlab", *JUPYTERLAB, f"--port={port}", "--ServerApp.base_url=/user/x/"]
    with (
        running(jupyter, home, f"{hub}api", signal.SIGTERM),
        dash_server(home / "dash", command(home / "live"), "--base-url", f"{hub}{request.param}/PORT/") as dash,
    ):
        yield f"{hub}{request.param}/{dash.port}/?token={dash.token}"


def test_list_page_and_figure_work_behind_the_prefix(behind: str, page: Page) -> None:
    page.goto(behind)
    page.get_by_role("link", name="A page").click()
    page.locator(".mamlkit-explorer [role=img]").wait_for()
    moves_with_its_kernel(page)
    page.get_by_role("link", name="All pages").click()
    expect(page.get_by_role("listitem")).to_have_text(["A pageLook."])
