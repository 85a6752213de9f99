"""`mamlkit lab`: the reader's copy is theirs, the originals are nobody's, and JupyterLab really starts."""

from __future__ import annotations

import errno
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
from mamlkit.core.errors import InputError
from mamlkit.study.bench.browser import free_port


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Make a small course: two notebooks, a solution, and what must not be copied."""
    source = tmp_path / "originals"
    copied = ("00-welcome.ipynb", "01-maml.ipynb", "solutions/01-maml.ipynb")
    for name in (*copied, ".ipynb_checkpoints/00.ipynb", "source/00-welcome.py", "build.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"original {name}")
    return source


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_first_copy_holds_the_notebooks_and_nothing_else(course: Path, tmp_path: Path) -> None:
    report = lab.copy_notebooks(course, tmp_path / "copy")
    assert report == (("00-welcome.ipynb", "01-maml.ipynb", "solutions/01-maml.ipynb"), ())
    assert set(hashes(tmp_path / "copy")) == {*report.written, lab.MANIFEST}


def test_a_changed_file_is_kept_and_named_and_the_rest_is_left_alone(course: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    lab.copy_notebooks(course, copy)
    (copy / "01-maml.ipynb").write_text("mine")
    (copy / "00-welcome.ipynb").unlink()
    report = lab.copy_notebooks(course, copy)
    assert report == (("00-welcome.ipynb",), ("01-maml.ipynb",))
    assert (copy / "01-maml.ipynb").read_text() == "mine"
    assert lab.copy_notebooks(course, copy) == ((), ("01-maml.ipynb",))


def test_an_unedited_copy_follows_a_newer_original_and_an_edited_one_does_not(course: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    lab.copy_notebooks(course, copy)
    (copy / "01-maml.ipynb").write_text("mine")
    for name in ("00-welcome.ipynb", "01-maml.ipynb"):
        (course / name).write_text("newer")
    assert lab.copy_notebooks(course, copy) == (("00-welcome.ipynb",), ("01-maml.ipynb",))
    assert (copy / "00-welcome.ipynb").read_text() == "newer"


def test_a_file_that_was_there_before_the_first_copy_is_kept(course: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "00-welcome.ipynb").write_text("mine from elsewhere")
    assert lab.copy_notebooks(course, copy).kept == ("00-welcome.ipynb",)


def test_the_originals_folder_a_file_and_a_broken_list_are_refused(course: Path, tmp_path: Path) -> None:
    before = hashes(course)
    for target in (course, course / "inner"):
        with pytest.raises(InputError, match="inside the originals"):
            lab.copy_notebooks(course, target)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        lab.copy_notebooks(course, tmp_path / "file")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / lab.MANIFEST).write_text("[1")
    with pytest.raises(InputError, match="delete it"):
        lab.copy_notebooks(course, tmp_path / "copy")
    assert hashes(course) == before


def test_a_failed_write_is_named_and_leaves_no_temporary_file(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"cannot write .*00-welcome\.ipynb \(No space left on device\)"):
        lab.copy_notebooks(course, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_file_where_a_folder_should_be_is_named_and_kept(course: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "solutions").write_text("mine")
    with pytest.raises(InputError, match=r"cannot write .*solutions.01-maml\.ipynb"):
        lab.copy_notebooks(course, tmp_path / "copy")
    assert set(hashes(tmp_path / "copy")) == {"00-welcome.ipynb", "01-maml.ipynb", "solutions"}
    assert (tmp_path / "copy" / "solutions").read_text() == "mine"


def test_a_notebook_is_found_by_its_beginning_and_a_wrong_name_gets_the_nearest(course: Path) -> None:
    assert lab.find_notebook(course, "01") == "01-maml.ipynb"
    assert lab.find_notebook(course, "00-welcome") == "00-welcome.ipynb"
    with pytest.raises(InputError, match=r"00-welcome\.ipynb or 01-maml\.ipynb"):
        lab.find_notebook(course, "0")
    with pytest.raises(InputError, match=r"did you mean '01-maml\.ipynb'"):
        lab.find_notebook(course, "1-mmal")


def test_a_live_page_is_found_by_its_name_without_its_folder(course: Path) -> None:
    (course / "live").mkdir()
    for name in ("draw", "drum"):
        (course / "live" / f"{name}.ipynb").write_text("{}")
    for name in ("draw", "live/draw", "live/draw.ipynb", "dra"):
        assert lab.find_notebook(course, name) == "live/draw.ipynb"
    with pytest.raises(InputError, match=r"live/draw\.ipynb or live/drum\.ipynb"):
        lab.find_notebook(course, "dr")


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
    assert seen == [["--no-browser", "01-maml.ipynb", "--port=1"], ["--no-browser", "--port=1"]]


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


def test_jupyterlab_starts_lists_the_copy_and_ends_when_asked(tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab", reason="the lab extra is not installed")
    source, port = lab.notebooks_folder(), free_port()
    before = hashes(source)
    options = [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret", "--allow-root"]
    run = "from mamlkit.commands.lab import command; command()"
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "HOME": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", run, "--dir", "copy", "--no-browser", "--", *options],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}/api"
            assert "started" in fetch_json(f"{url}/status?token=secret", process)
            listing = fetch_json(f"{url}/contents/?token=secret", process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=300)
    names = {entry["name"] for entry in listing["content"]}  # type: ignore[attr-defined]
    assert {path.name for path in source.glob("*.ipynb")} <= names
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
