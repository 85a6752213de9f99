"""``mamlkit reproduce``, really run, small: stopped, killed, locked, failed, gone on with, and refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
from click.testing import CliRunner, Result
from waiting import wait_until

from mamlkit.__main__ import main
from mamlkit.commands.until import Deadline, DeadlineError
from mamlkit.study.reproduction import atlas, plan
from mamlkit.study.reproduction.atlas import Place

PATIENCE = 300  # seconds that anything here may take on a busy machine


def command(out: Path, seeds: str) -> list[str]:
    sizes = ["-p", "epochs", "2", "-p", "iterations_per_epoch", "2"]
    given = ["--scale", "smoke", "--dataset", "glyphs", "--seeds", seeds, "--out", str(out), *sizes]
    return [sys.executable, "-m", "mamlkit", "reproduce", "stability", *given]


def start(out: Path, seeds: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command(out, seeds), start_new_session=True, **pipes)


def wait_for(what: Callable[[], object], running: subprocess.Popen[str]) -> None:
    def look() -> None:
        assert running.poll() is None, f"it ended before that: {running.communicate()[0]}"

    wait_until(what, look)


def ending(running: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = running.communicate(timeout=PATIENCE)
    return running.returncode, said


def records(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/*/cell.json")}


def kernels(running: subprocess.Popen[str]) -> list[psutil.Process]:
    below = psutil.Process(running.pid).children(recursive=True)
    found = []
    for process in below:
        try:
            if "ipykernel_launcher" in process.cmdline():
                found.append(process)
        except psutil.Error:  # it has just ended
            continue
    return found


def invoke(*arguments: str, code: int) -> Result:
    result = CliRunner().invoke(main, ["reproduce", *arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of two runs, one of each setting."""
    out = tmp_path_factory.mktemp("grid") / "out"
    code, said = ending(start(out, "0"))
    assert code == 0, said
    return out


def assert_whole(out: Path, seeds: tuple[int, ...]) -> None:
    """Check that every run has its files and its lines, and that the report has every run."""
    names = {f"{name}-strided-seed{seed}" for name in ("maml", "mamlpp") for seed in seeds}
    assert records(out).keys() == names
    for name in names:
        place = out / "cells" / name
        files = {path.name for path in place.rglob("*")}
        assert files >= {"notebook.ipynb", "cell.json", "run.json", "metrics.jsonl", "result.json"}
        metrics = (place / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["kind"] for line in metrics] == ["iteration", "iteration", "epoch"] * 2
    frame = pd.read_parquet(out / "results.parquet")
    tests = frame[frame["measure"] == "test accuracy"]
    assert sorted(zip(tests["setting"], tests["seed"])) == sorted(
        (f"{name}-strided", seed) for name in ("maml", "mamlpp") for seed in seeds for _ in ("batch", "running")
    )
    assert (out / "report.html").stat().st_size > 10_000
    assert (out / "report.ipynb").is_file()


def test_a_grid_is_whole_and_has_its_report(grid: Path) -> None:
    assert_whole(grid, (0,))


@pytest.mark.long
def test_a_grid_that_is_stopped_and_loses_a_worker_ends_whole_when_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = start(out, "0,1")
    wait_for(lambda: records(out), running)
    wait_for(lambda: kernels(running), running)
    alive = kernels(running)
    os.killpg(running.pid, signal.SIGINT)
    code, said = ending(running)
    assert code == 1
    assert re.search(r"Stopped; runs done since the start: [1-3]\. The same command continues from here\.", said), said
    assert "Traceback" not in said
    psutil.wait_procs(alive, timeout=PATIENCE)
    assert not any(kernel.is_running() for kernel in alive)

    stopped = records(out)
    running = start(out, "0,1")
    wait_for(lambda: kernels(running), running)
    time.sleep(2)
    worker = kernels(running)[0].parent()
    assert worker is not None
    worker.kill()
    refused = subprocess.run(command(out, "0,1"), capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.strip() == (
        f"Error: {out} is being written by another mamlkit reproduce; wait for it, or choose another folder"
    )
    code, said = ending(running)
    assert code == 0, said
    assert "failed" not in said
    assert records(out).items() >= stopped.items()
    assert_whole(out, (0, 1))
    # Seeds are truly different beginnings and episodes.
    metrics = [out / "cells" / f"maml-strided-seed{seed}" / "run" / "metrics.jsonl" for seed in (0, 1)]
    first, second = (json.loads(path.read_text("utf-8").split("\n")[0]) for path in metrics)
    assert first["loss"] != second["loss"]


@pytest.mark.long
def test_short_runs_are_trained_without_notebooks_and_stop_at_a_time_to_go_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = tuple(Place("plain", method, 1, 0.1) for method in ("maml", "first-order"))
    monkeypatch.setattr(atlas, "PLACES", places)
    out, check = tmp_path / "out", Deadline.check
    arguments = ["atlas", "--scale", "smoke", "--seeds", "0", "--out", str(out), "--until"]

    def stop(self: Deadline) -> None:
        check(self)  # the time of the command line is far away
        raise DeadlineError

    with monkeypatch.context() as patch:
        patch.setattr(Deadline, "check", stop)
        stopped = invoke(*arguments, "2999-01-01", code=0)
    assert re.search(r"They will take about [\d:]+ on this machine", stopped.output)
    assert re.search(r"Stopped; runs done since the start: [012]\. The same command continues", stopped.output)
    assert not (out / "report.html").exists()
    invoke(*arguments, "2999-01-01", code=0)
    assert records(out).keys() == {f"{place.name}-seed0" for place in places}
    assert not list(out.glob("cells/*/notebook.ipynb"))
    assert "Where training breaks" in (out / "report.html").read_text("utf-8")


def test_the_same_command_again_does_nothing_and_says_so(grid: Path) -> None:
    written = ("plan.json", ".lock")
    before = {path: path.stat().st_mtime_ns for path in grid.rglob("*") if path.is_file() and path.name not in written}
    done = subprocess.run(command(grid, "0"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 runs" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Nothing to do. The report is {grid / 'report.html'}."
    after = {path: path.stat().st_mtime_ns for path in grid.rglob("*") if path.is_file() and path.name not in written}
    assert after == before


@pytest.mark.long
def test_a_run_that_fails_is_told_with_its_traceback_and_the_others_go_on(grid: Path) -> None:
    damaged = grid / "cells" / "maml-strided-seed2" / "run" / "run.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{", "utf-8")
    done = subprocess.run(command(grid, "2"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "RunFolder.open(place)" in done.stdout
    assert "run.json is damaged" in done.stdout
    assert str(grid / "cells" / "maml-strided-seed2") in done.stdout
    assert done.stderr.splitlines()[-1] == "Error: 1 of 2 runs failed; the same command tries them again"
    assert "mamlpp-strided-seed2" in records(grid)
    assert "maml-strided-seed2" not in records(grid)
    frame = pd.read_parquet(grid / "results.parquet")
    assert set(frame["seed"]) == {0, 2}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["stabilty"], "table = 'stabilty' is unknown (did you mean 'stability'?); choose one of omniglot-ablation,"),
        (["stability", "--scale", "big"], "scale = 'big' is unknown; choose one of smoke, laptop, paper"),
        (["stability", "--seeds", "0,a"], "--seeds 0,a is not a list of whole numbers; write it as 0,1,2"),
        (["stability", "--seeds", "0,0"], "--seeds 0,0: each must be 0 to 2147483647 and occur once"),
        (["stability", "--seeds", "-1"], "--seeds -1: each must be 0 to 2147483647 and occur once"),
        (["stability", "--until", "2020-01-01"], "--until 2020-01-01 is in the past; a later time is allowed"),
        (["stability", "-p", "epoch", "3"], "notebook 09 has no parameter 'epoch' (= 3); did you mean 'epochs'?"),
        (["stability", "-p", "overrides", "{filter: 3}"], "unknown key 'filter' = 3 in the configuration"),
        (["stability", "--dataset", "gylphs"], "dataset = 'gylphs' is not allowed (did you mean 'glyphs'?)"),
        (["mini-imagenet"], "mini-imagenet"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAMLKIT_DATA", raising=False)
    usual = [] if "--dataset" in arguments or "mini-imagenet" in arguments else ["--dataset", "glyphs"]
    result = invoke(*arguments, *usual, "--out", "out", code=2)
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_scheduler_that_nobody_answers_for_is_one_sentence(tmp_path: Path) -> None:
    arguments = ["stability", "--dataset", "glyphs", "--out", str(tmp_path / "out"), "--scheduler", "nonsense://x"]
    result = invoke(*arguments, code=2)
    assert result.stderr == (
        "Error: --scheduler nonsense://x: no Dask scheduler answers there; give an address as tcp://host:8786\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_results_is_refused(grid: Path) -> None:
    result = invoke("stability", "--scale", "smoke", "--dataset", "glyphs", "--out", str(grid), code=2)
    sentence = "holds results with parameters = {'epochs': 2, 'iterations_per_epoch': 2}, not {}; choose another folder"
    assert result.stderr == f"Error: {grid} {sentence}\n"
    assert plan.read_plan(grid) is not None


def test_the_other_commands_do_not_load_what_only_this_one_needs() -> None:
    names = ("distributed", "pandas", "papermill", "pyarrow", "scipy")
    program = f"import sys, json, mamlkit.__main__; print(json.dumps([n for n in {names} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
