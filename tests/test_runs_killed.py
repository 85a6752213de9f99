"""A run that is killed at any moment goes on, and ends bit for bit as one that nobody stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from kept import contents
from tiny import RUN, flags

from mamlkit import InputError
from mamlkit.__main__ import main

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has neither fork nor SIGKILL")

SIZES = RUN | {"test_episodes": 2}
TRAIN = ["train", *flags(SIZES)]

# Run the same command again and again, and kill it by SIGKILL just before its second, third, ... write to the disk (or
# each ninth), until a run comes to its end; then kill some at moments of the clock. Forked, to import torch only once.
KILL_AT_MANY_MOMENTS = """
import os, signal, sys, time
import torch._dynamo  # what torch would import with each child's first gradient
from mamlkit.__main__ import main

root, stride, *arguments = sys.argv[1:]

def kill_at(moment, folder):
    seen = 0
    def hook(event, args):
        nonlocal seen
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.truncate") or event == "open" and args[2] & 3
        if changes and str(args[0]).startswith(folder):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

def start(folder, moment=0):
    child = os.fork()
    if not child:
        kill_at(moment, folder)
        main([*arguments, "--out", folder], standalone_mode=False)
        os._exit(0)
    return child

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

status, moment = -signal.SIGKILL, 2 - int(stride)  # before the first, nothing is there yet
while status == -signal.SIGKILL:
    moment += int(stride)
    begin = time.perf_counter()
    status = wait(start(f"{root}/write-{moment:02}", moment))
assert status == 0
os.rename(f"{root}/write-{moment:02}", f"{root}/straight")
seconds = time.perf_counter() - begin
for tenth in (3, 5, 6, 7, 8) if stride == "1" else (6,):
    child = start(f"{root}/clock-{tenth}")
    time.sleep(seconds * tenth / 10)
    os.kill(child, signal.SIGKILL)
    wait(child)
"""


@pytest.fixture(scope="module", params=[9, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs killed at many moments, and of one that was never killed."""
    root = tmp_path_factory.mktemp("all" if request.param == 1 else "some")
    program = [sys.executable, "-c", KILL_AT_MANY_MOMENTS, str(root), str(request.param), *TRAIN]
    subprocess.run(program, stdout=subprocess.DEVNULL, check=True)
    return root


def mamlkit(*arguments: str) -> None:
    """Run the command line; what it refuses is raised."""
    result = CliRunner().invoke(main, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception.__cause__ or result.exception


def test_a_run_killed_at_any_moment_goes_on_and_ends_bit_for_bit_the_same(runs: Path) -> None:
    expected = contents(runs / "straight")
    assert len(expected["metrics.jsonl"]) == 3 * (2 + 1)
    killed = sorted(path for path in runs.iterdir() if path.name != "straight")
    begun_anew = 0
    for folder in killed:
        if (folder / "run.json").exists():
            mamlkit("train", "--resume", str(folder))
        else:
            with pytest.raises(InputError, match=f"^{re.escape(str(folder))} holds no run "):
                mamlkit("train", "--resume", str(folder))
            mamlkit(*TRAIN, "--out", str(folder))
            begun_anew += 1
        assert contents(folder) == expected, f"killed at {folder.name}"
        assert {path.name for path in folder.rglob(".*")} == {".lock"}, f"killed at {folder.name}"
    every_moment = len(killed) > 20
    assert every_moment == runs.name.startswith("all")
    assert begun_anew >= (2 if every_moment else 1)


def test_a_process_killed_in_mid_epoch_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    train = [*TRAIN, "--backbone", "conv4", "--iterations-per-epoch", "4"]
    command = [sys.executable, "-m", "mamlkit", *train, "--out", str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not (tmp_path / "killed" / "checkpoints" / "epoch-0001.safetensors").exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.001)
        time.sleep(0.05)  # into the middle of the next epoch
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "checkpoints" / "epoch-0003.safetensors").exists()
    mamlkit("train", "--resume", str(tmp_path / "killed"))
    mamlkit(*train, "--out", str(tmp_path / "straight"))
    assert contents(tmp_path / "killed") == contents(tmp_path / "straight")


def test_going_on_with_a_finished_run_changes_nothing(runs: Path) -> None:
    before = contents(runs / "straight")
    mamlkit("train", "--resume", str(runs / "straight"))
    assert contents(runs / "straight") == before
