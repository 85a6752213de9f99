"""The dashboard is as closed as JupyterLab, for plain requests and in a real browser; and it works behind a prefix."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from dash_server import command, kernels, kernels_end
from playwright.sync_api import Browser, Page, expect
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from mamlkit.commands import dash_server as closed
from mamlkit.study.bench.browser import launch
from mamlkit.study.bench.servers import Dash, dash_server

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
MOST = 2  # kernels


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dash]:
    """A server with one small page."""
    home = tmp_path_factory.mktemp("closed-dash")
    (home / "live").mkdir()
    cells = [
        nbformat.v4.new_markdown_cell("# A page"),
        nbformat.v4.new_code_cell("import ipywidgets as w; w.IntSlider()"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), home / "live" / "one.ipynb")
    with dash_server(home, command(home / "live"), "--kernels", str(MOST)) as dash:
        yield dash


@pytest.fixture(autouse=True)
def no_kernel_stays_here(request: pytest.FixtureRequest) -> Iterator[None]:
    """As ``no_kernel_stays``, for this server."""
    if "small" not in request.fixturenames:
        yield
        return
    with kernels_end(request.getfixturevalue("small")):
        yield


def asked(**headers: str) -> HTTPServerRequest:
    connection: Any = SimpleNamespace(context=None)
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    return HTTPServerRequest(start_line=line, headers=HTTPHeaders(headers), connection=connection)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8866", "127.0.0.1:80", "127.3.2.1", "[::1]:8866", "HUB.example"]
)
def test_loopback_and_the_names_of_the_server_are_answered(host: str) -> None:
    assert closed.refusal(asked(Host=host), ("hub.example",)) == ""


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.7", "hub.example:9", "", "[::1", "::1"]
)
def test_other_names_are_refused_in_a_sentence(host: str) -> None:
    assert "does not answer to the name" in closed.refusal(asked(Host=host), ("hub.example",))
    assert closed.refusal(asked(Host=host), (closed.ANY,)) == ""


@pytest.mark.parametrize(
    ("origin", "right"),
    [
        ({"Origin": "http://localhost:8866"}, True),
        ({"Origin": "https://hub.example"}, True),
        ({"Origin": "http://localhost:9999"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
def test_a_websocket_is_for_the_servers_own_pages(origin: dict[str, str], right: bool) -> None:
    opened = asked(Host="localhost:8866", Upgrade="WebSocket", **origin)
    assert (closed.refusal(opened, ("hub.example",)) == "") is right


def answer(dash: Dash, path: str, **headers: str) -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", dash.port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        got = connection.getresponse()
        return got.status, got.read().decode()


@pytest.mark.parametrize("path", ["/", "/voila/render/one.ipynb", "/api/kernels", "/voila/static/x", "/login"])
def test_a_foreign_host_gets_nothing_even_with_the_token(small: Dash, path: str) -> None:
    before = kernels(small)
    status, text = answer(small, f"{path}?token={small.token}", Host="evil.example")
    assert (status, "does not answer to the name 'evil.example'" in text) == (403, True)
    assert kernels(small) == before


def test_without_the_token_no_page_opens_and_no_kernel_starts(small: Dash) -> None:
    before = kernels(small)
    for path in ("/", "/voila/render/one.ipynb", "/voila/render/one.ipynb?token=wrong"):
        status, _ = answer(small, path, Host=f"localhost:{small.port}")
        assert status == 302  # to the form for the token
    assert answer(small, "/api/kernels/x", Host=f"localhost:{small.port}")[0] in (403, 404)
    assert kernels(small) == before


def test_a_page_beyond_the_limit_says_so_and_starts_no_kernel(small: Dash, page: Page) -> None:
    others = [page.context.new_page() for _ in range(MOST)]
    for other in others:
        other.goto(small.page("one"))
        other.locator(".noUi-handle").wait_for()
    before = kernels(small)
    said = page.goto(small.page("one"))
    assert said is not None
    assert said.status == 503
    expect(page.locator("body")).to_contain_text("2 pages are open, as many as this server allows; close one")
    assert kernels(small) == before
    for other in others:
        other.close(run_before_unload=True)


ATTACK = """<!doctype html><title>another site</title>
<script>
window.seen = [];
const note = (what) => (event) => window.seen.push(`${what} ${event?.type ?? "ended"}`);
const picture = new Image();
picture.onload = picture.onerror = note("image");
picture.src = "ADDRESS/voila/render/one.ipynb";
for (const path of ["voila/query/KERNEL", "api/kernels/KERNEL/channels", "voila/execution/KERNEL"]) {
  const socket = new WebSocket(`${"ADDRESS".replace("http", "ws")}/${path}`);
  socket.onopen = socket.onerror = note("socket");
}
fetch("ADDRESS/voila/render/one.ipynb", { mode: "no-cors", credentials: "include" }).then(note("fetch"), note("fetch"));
</script>"""
OUTCOME = ["fetch opaque", "image error", "socket error", "socket error", "socket error"]
EVIL = "evil.example"


@pytest.fixture
def visitor(browser: Browser, small: Dash) -> Iterator[Page]:
    """A browser in which the reader is logged in to the dashboard, and in which a foreign name leads to loopback."""
    rules = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"
    other = launch(browser.browser_type, rules)
    page = other.new_page()
    page.goto(small.list)
    page.get_by_role("link", name="A page").wait_for()
    yield page
    other.close()


@pytest.fixture
def site(small: Dash) -> Iterator[int]:
    """The port of a web site of somebody else, whose page attacks the dashboard."""
    kernel = "00000000-0000-0000-0000-000000000000"
    body = ATTACK.replace("ADDRESS", f"http://localhost:{small.port}").replace("KERNEL", kernel).encode()

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_page_of_another_site_gets_no_kernel_by_a_picture_a_request_or_a_socket(
    small: Dash, visitor: Page, site: int
) -> None:
    before = kernels(small)
    visitor.goto(f"http://{EVIL}:{site}/")
    visitor.wait_for_function("window.seen.length === 5")
    assert sorted(visitor.evaluate("window.seen")) == OUTCOME
    assert kernels(small) == before


def test_a_name_that_was_led_to_loopback_gets_no_page_and_no_socket(small: Dash, visitor: Page) -> None:
    before = kernels(small)
    got = visitor.goto(f"http://{EVIL}:{small.port}/voila/render/one.ipynb?token={small.token}")
    assert got is not None
    assert got.status == 403
    opened = """() => new Promise((say) => {
      const socket = new WebSocket(`ws://${location.host}/api/kernels/00000000-0000-0000-0000-000000000000/channels`);
      socket.onopen = () => say(true); socket.onerror = () => say(false);
    })"""
    assert visitor.evaluate(opened) is False
    assert kernels(small) == before


def test_the_servers_own_page_gets_its_kernel_by_the_cookie_alone(small: Dash, visitor: Page) -> None:
    visitor.get_by_role("link", name="A page").click()
    visitor.locator(".noUi-handle").wait_for()
    assert visitor.url == f"http://localhost:{small.port}/voila/render/one.ipynb"
    visitor.close(run_before_unload=True)
