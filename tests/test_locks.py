"""A folder that one program at a time may write."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mamlkit.core.errors import InputError
from mamlkit.core.system.locks import lock

HOLD = """
import sys, time
from pathlib import Path
from mamlkit.core.system.locks import lock
held = lock(Path(sys.argv[1]), "run")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """Another program that holds the folder."""
    program = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    with program.stdout:
        assert program.stdout.readline() == "held\n"
    return program


def test_a_folder_that_another_program_writes_is_refused_until_that_is_killed(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    sentence = f"{tmp_path} is being written by another run; wait for it, or choose another folder"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        lock(tmp_path, "run")
    other.send_signal(signal.SIGKILL)
    other.wait()
    with lock(tmp_path, "run", seconds=60) as held:
        assert held.is_locked


def test_the_program_that_has_a_folder_may_take_it_again(tmp_path: Path) -> None:
    with lock(tmp_path, "run") as first, lock(tmp_path, "run") as second:
        assert first is second


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(InputError, match=r"^cannot write .*file.inside \(Not a directory\); choose another folder$"):
        lock(tmp_path / "file" / "inside", "run")
