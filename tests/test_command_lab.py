"""`mamlkit lab`: the reader's copy is theirs, the originals are nobody's, and JupyterLab really starts."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.sign import NotebookNotary

from mamlkit.commands import lab
from mamlkit.commands.course import notebooks_folder
from mamlkit.core.errors import InputError
from mamlkit.study.bench.servers import free_port


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Make a small course of two notebooks."""
    source = tmp_path / "originals"
    source.mkdir()
    for name in ("00-welcome.ipynb", "01-maml.ipynb"):
        (source / name).write_text(f"original {name}")
    return source


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_without_jupyterlab_nothing_is_copied_and_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(lab.command, ["--dir", str(tmp_path / "copy")])
    assert isinstance(result.exception, InputError)
    assert 'pip install "mamlkit[lab]"' in str(result.exception)
    assert not (tmp_path / "copy").exists()


def test_arguments_after_two_dashes_reach_jupyterlab(
    monkeypatch: pytest.MonkeyPatch, course: Path, tmp_path: Path
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(lab, "notebooks_folder", lambda: course)
    monkeypatch.setattr(lab, "run_jupyterlab", lambda folder, options: seen.append(options) or 3)
    copy = ["--dir", str(tmp_path / "copy"), "--no-browser"]
    assert CliRunner().invoke(lab.command, [*copy, "01", "--", "--port=1"]).exit_code == 3
    assert CliRunner().invoke(lab.command, [*copy, "--", "--port=1"]).exit_code == 3
    assert seen == [
        ["--no-browser", "--LabApp.default_url=/lab/tree/01-maml.ipynb", "--port=1"],
        ["--no-browser", "--port=1"],
    ]


def fetch_json(url: str, process: subprocess.Popen[bytes]) -> dict[str, object]:
    """Ask until the server answers, for at most ten minutes."""
    for _ in range(1200):
        assert process.poll() is None, f"JupyterLab ended with code {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return dict(json.load(answer))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(f"no answer from {url}")


def test_jupyterlab_starts_with_a_page_inside_the_whole_course_and_ends_when_asked(tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab", reason="the lab extra is not installed")
    source, port = notebooks_folder(), free_port()
    before = hashes(source)
    options = [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret", "--allow-root"]
    run = "from mamlkit.commands.lab import command; command()"
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "HOME": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", run, "--dir", "copy", "--no-browser", "draw", "--", *options],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}/api"
            assert "started" in fetch_json(f"{url}/status?token=secret", process)
            listing = fetch_json(f"{url}/contents/?token=secret", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/?token=secret") as first:
                opened = first.url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=300)
    names = {entry["name"] for entry in listing["content"]}  # type: ignore[attr-defined]
    assert {path.name for path in source.glob("*.ipynb")} <= names
    assert "/lab/tree/live/draw.ipynb" in opened
    assert hashes(source) == before
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/status", timeout=5)


def test_the_copies_are_trusted_so_that_their_figures_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    for name in ("ours.ipynb", "other.ipynb"):
        cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", {"text/html": name})])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / name)
    lab.trust(tmp_path, ["ours.ipynb"])
    notary = NotebookNotary()
    known = {name: notary.check_signature(nbformat.read(tmp_path / name, 4)) for name in ("ours.ipynb", "other.ipynb")}
    notary.store.close()
    assert known == {"ours.ipynb": True, "other.ipynb": False}


def test_nothing_new_is_nothing_to_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.subprocess, "run", lambda *_, **__: pytest.fail("jupyter trust would read standard input"))
    lab.trust(tmp_path, [])
