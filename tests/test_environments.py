"""Environments that are not as they should be: one sentence or none, and the run goes on where it can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from disks import mounted

from mamlkit.__main__ import main
from mamlkit.core.system.files import cache_dir
from mamlkit.datasets.store import data_dir

TINY = [
    *("--epochs=1", "--iterations-per-epoch=1", "--n-way=2", "--n-steps=1", "--filters=2", "--n-tasks=1"),
    *("--ensemble=1", "--q-query=1", "--eval-query=1", "--val-episodes=2", "--test-episodes=2"),
]


def train(out: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["train", *TINY, *options, "--out", str(out)])


def is_trained(out: Path) -> bool:
    return (out / "result.json").is_file()


@pytest.mark.usefixtures("has_cxx")
@pytest.mark.parametrize("cache", ["file", "file/inside", "/proc/mamlkit"])
def test_a_cache_that_cannot_be_written_is_one_sentence_and_another_engine_trains(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAMLKIT_CACHE", str(tmp_path / cache))
    result = train(tmp_path / "run", "--engine", "compiled")
    assert result.exit_code == 0, result.output
    said = [line for line in result.stdout.splitlines() if line.startswith("engine")]
    assert len(said) == 1
    assert said[0].startswith("engine vmap: compiled cannot be used, cannot write ")
    assert is_trained(tmp_path / "run")


@pytest.mark.parametrize("variable", ["MAMLKIT_CACHE", "MAMLKIT_DATA"])
def test_the_home_of_nobody_is_a_folder_like_any_other(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "~no-such-user/folder")
    folder = cache_dir() if variable == "MAMLKIT_CACHE" else data_dir()
    assert folder == Path("~no-such-user/folder")


def test_a_path_may_have_spaces_and_letters_of_any_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "Grüße an \u65e5\u672c"
    monkeypatch.setenv("MAMLKIT_CACHE", str(place / "cache"))
    assert train(place / "my run").exit_code == 0
    tested = CliRunner().invoke(main, ["evaluate", str(place / "my run"), "--episodes", "2"])
    assert (tested.exit_code, tested.exception) == (0, None)


def run(out: Path, **setting: str) -> None:
    """Train in another program, and see that nothing stops it."""
    command = [sys.executable, "-m", "mamlkit", "train", *TINY, "--out", str(out)]
    done = subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert is_trained(out)


def test_a_run_goes_on_whatever_the_environment_says(tmp_path: Path) -> None:
    home = {"HOME": "/proc/no-home", "XDG_CACHE_HOME": "", "MAMLKIT_CACHE": ""}
    run(tmp_path / "run", **home, OMP_NUM_THREADS="0", TMPDIR="/proc/no-folder", PYTHONIOENCODING="ascii")


def test_a_run_goes_on_with_a_full_temporary_folder_and_threads_that_are_no_number(tmp_path: Path) -> None:
    with mounted(tmp_path / "full", "size=4k") as full:
        (full / "rubbish").write_bytes(b"x" * 4096)
        run(tmp_path / "run", TMPDIR=str(full), OMP_NUM_THREADS="many")
