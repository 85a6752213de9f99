"""Importing the package costs next to nothing beyond what it stands on."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 0.3
PROGRAM = """
import time
import numpy, torch
begin = time.perf_counter()
import mamlkit
print(time.perf_counter() - begin)
"""


def test_importing_mamlkit_takes_under_300_milliseconds_beyond_torch_and_numpy() -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", PROGRAM]
    runs = [subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True) for _ in range(5)]
    assert statistics.median(float(run.stdout) for run in runs) < SECONDS
