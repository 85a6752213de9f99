"""`mamlkit dash`: the pages are copied and listed, Voila serves them here alone, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import ROOT
from click.testing import CliRunner, Result
from dash_server import command

from mamlkit.commands import dash
from mamlkit.core.errors import InputError
from mamlkit.datasets.drawings import Sheet
from mamlkit.datasets.wall import read_sheets
from mamlkit.study.bench.servers import free_port, own_environment, wait_for

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def write_page(path: Path, head: str, *codes: str) -> None:
    cells = [nbformat.v4.new_markdown_cell(head), *map(nbformat.v4.new_code_cell, codes)]
    for cell in cells[1:2]:
        cell.metadata.tags = ["parameters"]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small pages in place of the kit's."""
    folder = tmp_path / "live"
    write_page(folder / "draw.ipynb", "# Draw\n\n**Minutes:** 10. Draw a\ncharacter. Then another.", "seed = 0")
    write_page(folder / "wall.ipynb", "# Class wall", 'seed = 0\nfolder = ""', "print(folder)")
    monkeypatch.setattr(dash, "pages_folder", lambda: folder)
    return folder


Served = list[dict[str, Any]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """What would have been served: the arguments, and the copies of that moment."""
    calls: Served = []

    def serve(chosen: dict[str, Any], address: str, *, browser: bool) -> None:
        folder = Path(chosen["Voila"]["root_dir"])
        copies = {path.name: path.read_text("utf-8") for path in folder.glob("*.ipynb")}
        calls.append({"folder": folder, "address": address, "browser": browser, "copies": copies, **chosen})

    monkeypatch.setattr(dash, "serve", serve)
    monkeypatch.setenv("JUPYTER_TOKEN", "secret")
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    return calls


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dash.command, [str(each) for each in arguments])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def test_the_pages_are_copied_to_a_folder_that_is_gone_afterwards(pages: Path, served: Served) -> None:
    port = free_port()
    result = run("--port", port)
    assert result.exit_code == 0
    [call] = served
    assert call["copies"] == {path.name: path.read_text("utf-8") for path in pages.glob("*.ipynb")}
    address = f"http://localhost:{port}/?token=secret"
    assert (call["Voila"]["port"], call["address"], call["browser"]) == (port, address, True)
    assert not call["folder"].is_relative_to(pages)
    assert not call["folder"].exists()
    assert result.stdout == f"The live pages are at {address} (Ctrl-C ends the server).\n"


def test_a_page_may_be_opened_first_and_no_browser_at_all(pages: Path, served: Served) -> None:
    port = free_port()
    assert run("--no-browser", "--port", port, "dr").exit_code == 0
    assert served[0]["address"] == f"http://localhost:{port}/voila/render/draw.ipynb?token=secret"
    assert served[0]["browser"] is False
    assert "did you mean 'draw.ipynb'? There are: draw.ipynb, wall.ipynb" in refused("--port", port, "darw")


def test_the_list_says_what_the_reader_does_on_each_page(pages: Path) -> None:
    assert dash.about_pages(pages) == [
        {"file": "draw.ipynb", "title": "Draw", "what": "Draw a character."},
        {"file": "wall.ipynb", "title": "Class wall", "what": ""},
    ]


def test_sheets_become_the_walls_parameter_in_the_copy_alone(pages: Path, served: Served, tmp_path: Path) -> None:
    before = (pages / "wall.ipynb").read_bytes()
    sheets = tmp_path / "it's ours"
    sheets.mkdir()
    for number in (20, 40):
        drawn = {name: (((10, 10), (number, 90 - ord(name) % 7)),) for name in "ab"}
        (sheets / f"{number}.json").write_text(Sheet(drawn).to_json(), "utf-8")
    assert run("--port", free_port(), "--sheets", sheets).exit_code == 0
    copy = nbformat.reads(served[0]["copies"]["wall.ipynb"], as_version=4)
    values: dict[str, Any] = {}
    exec(copy.cells[1].source, values)
    assert list(read_sheets(values["folder"])) == ["20", "40"]
    assert (values["seed"], copy.cells[2].source) == (0, "print(folder)")
    assert (pages / "wall.ipynb").read_bytes() == before


def test_bad_sheets_are_refused_before_anything_is_served(pages: Path, served: Served, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("not JSON")
    assert "bad.json is not JSON" in refused("--port", free_port(), "--sheets", tmp_path)
    assert "nowhere is not a folder" in refused("--port", free_port(), "--sheets", tmp_path / "nowhere")
    (tmp_path / "bad.json").unlink()
    for number, names in enumerate(("ab", "ac")):
        drawn = {name: (((10, 10), (number, ord(name) - 50)),) for name in names}
        (tmp_path / f"{number}.json").write_text(Sheet(drawn).to_json(), "utf-8")
    assert "share 1 characters" in refused("--port", free_port(), "--sheets", tmp_path)
    assert served == []


def test_a_port_in_use_is_named(pages: Path, served: Served) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert re.fullmatch(rf"--port {port} cannot be used \(.+\); choose another", refused("--port", port))
    assert run("--port", port).exit_code == 0
    assert len(served) == 1


def test_without_voila_the_remedy_is_named(pages: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refused() == 'mamlkit dash needs voila; install with: pip install "mamlkit[dash]"'
    assert served == []


def test_an_installation_without_live_pages_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dash, "notebooks_folder", lambda: tmp_path)
    assert "no live pages in" in refused()


def test_the_kit_has_live_pages_and_each_says_what_the_reader_does() -> None:
    pages = dash.about_pages(dash.pages_folder())
    assert {page["file"] for page in pages} == {path.name for path in (ROOT / "notebooks" / "live").glob("*.ipynb")}
    assert all(page["title"] and page["what"] for page in pages)


@pytest.mark.parametrize(
    ("given", "base", "origin", "names"),
    [
        ("", "/", "http://localhost:8866", ()),
        ("/user/x/proxy/8866/", "/user/x/proxy/8866/", "http://localhost:8866", ()),
        ("user/x", "/user/x/", "http://localhost:8866", ()),
        ("https://Hub.example:8000/u//x", "/u/x/", "https://Hub.example:8000", ("hub.example:8000",)),
        ("http://hub.example", "/", "http://hub.example", ("hub.example",)),
    ],
)
def test_a_prefix_with_or_without_slashes_or_a_whole_address_is_a_place(
    given: str, base: str, origin: str, names: tuple[str, ...], served: Served
) -> None:
    assert dash.place_of(8866, given) == (8866, base, origin, names)


def test_on_a_hub_the_prefix_is_known_and_every_name_is_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/x/")
    assert dash.place_of(9000, "") == (9000, "/user/x/proxy/9000/", "", ("*",))


@pytest.mark.parametrize("given", ["//hub", "https:", "hub.example?x=1", "/a b", "/x#y", "/<script>"])
def test_what_is_no_place_is_refused(given: str, pages: Path, served: Served) -> None:
    assert f"--base-url {given!r} is no place; give a path such as /user/me/proxy/" in refused("--base-url", given)
    assert served == []


def test_without_a_token_of_ones_own_each_server_has_a_new_one(
    pages: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUPYTER_TOKEN")
    for _ in range(2):
        assert run("--port", free_port()).exit_code == 0
    tokens = [call["Voila"]["token"] for call in served]
    assert tokens[0] != tokens[1]
    assert min(map(len, tokens)) >= 48
    assert served[0]["address"].endswith(f"/?token={tokens[0]}")


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_a_real_server_opens_the_browser_shows_a_page_and_ends_cleanly(
    pages: Path, number: signal.Signals, tmp_path: Path
) -> None:
    pytest.importorskip("voila", reason="the dash extra is not installed")
    code = f"import os\nopen({str(tmp_path / 'kernel')!r}, 'w').write(f'{{os.getpid()}} {{os.getcwd()}}')"
    write_page(pages / "draw.ipynb", "# Draw", "seed = 0", code)
    before, port, log = hashes(pages), free_port(), tmp_path / "log"
    opened = tmp_path / "opened"
    browser = f"{sys.executable} -c \"import sys; open({str(opened)!r}, 'w').write(sys.argv[1])\" %s"
    (tmp_path / "tmp").mkdir()
    env = {**os.environ, **own_environment(tmp_path), "BROWSER": browser, "TMPDIR": str(tmp_path / "tmp")}
    env["JUPYTER_TOKEN"] = "secret"
    with log.open("w") as stream:
        arguments = [*command(pages), "--port", str(port), "draw"]
        server = subprocess.Popen(arguments, cwd=tmp_path, env=env, stdout=stream, stderr=stream)
    try:
        wait_for(f"http://localhost:{port}/?token=secret", server, log)
        address = f"http://localhost:{port}/voila/render/draw.ipynb?token=secret"
        with urllib.request.urlopen(address, timeout=600) as answer:
            answer.read()
        kernel, folder = (tmp_path / "kernel").read_text().split(" ", 1)
        assert Path(folder).is_relative_to(tmp_path / "tmp")
        server.send_signal(number)
        assert server.wait(300) == 0, log.read_text()
    finally:
        server.kill()
        server.wait()
    assert "Traceback" not in log.read_text()
    assert opened.read_text() == address
    assert hashes(pages) == before
    assert list((tmp_path / "tmp").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(kernel), 0)
