"""On a read-only home, Jupyter works in a temporary folder, which is named, and which goes at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import mounted

from mamlkit.commands import jupyter_folders
from mamlkit.study.bench.servers import free_port, wait_for

VARIABLES = (*jupyter_folders.FUNCTIONS, "IPYTHONDIR")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home on a read-only file system."""
    with mounted(tmp_path / "home", "ro") as folder:
        yield folder


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tmp").mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "XDG", "IPYTHON"))}
    return {**own, "HOME": str(home), "TMPDIR": str(tmp_path / "tmp"), "MAMLKIT_CACHE": str(tmp_path / "cache")}


def test_folders_that_can_be_written_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / name))
    with jupyter_folders.writable_folders() as sentence:
        assert sentence == ""
        assert os.environ["JUPYTER_RUNTIME_DIR"] == str(tmp_path / "JUPYTER_RUNTIME_DIR")


def test_folders_that_cannot_be_written_are_replaced_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for name in VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "file" / "data"))
    with jupyter_folders.writable_folders() as sentence:
        place = Path(os.environ["JUPYTER_DATA_DIR"]).parent
        assert place.is_dir()
        assert sentence.startswith(
            f"Jupyter cannot write to {tmp_path / 'file' / 'data'}; until the end it uses {place} "
        )
        assert os.environ["IPYTHONDIR"] == str(tmp_path / "IPYTHONDIR")
    assert os.environ["JUPYTER_DATA_DIR"] == str(tmp_path / "file" / "data")
    assert not place.exists()


@pytest.mark.long
def test_jupyterlab_starts_on_a_read_only_home_and_says_so_once(environment: dict[str, str], tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    options = [f"--port={port}", "--IdentityProvider.token=x", "--allow-root", "--ip=127.0.0.1"]
    with log.open("w") as stream:
        lab = [sys.executable, "-m", "mamlkit", "lab", "--dir", "copy", "--no-browser", "--", *options]
        process = subprocess.Popen(lab, cwd=tmp_path, env=environment, stdout=stream, stderr=stream)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status?token=x", process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=300)
    assert log.read_text().count("Jupyter cannot write to") == 1
    assert "Traceback" not in log.read_text()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_doctor_names_the_folders_and_what_to_do(environment: dict[str, str], tmp_path: Path) -> None:
    doctor = [sys.executable, "-m", "mamlkit", "doctor"]
    done = subprocess.run(
        doctor, cwd=tmp_path, env={**environment, "COLUMNS": "300"}, capture_output=True, text=True, check=False
    )
    row = next(line for line in done.stdout.splitlines() if "Jupyter kernel" in line)
    assert "warn" in row
    assert "Jupyter cannot write to" in row
    assert "Traceback" not in done.stdout + done.stderr
