"""Importing the package loads nothing that is slow to load; `mamlkit bench --ui` says how long it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SLOW = ("matplotlib", "PIL", "skimage", "scipy", "pandas", "dask", "distributed", "ipywidgets", "IPython", "rich")
SLOW_IN_TORCH = ("torch._dynamo", "torch._inductor", "torch.export", "torch.onnx", "torch.distributed.tensor")
PROGRAM = """
import json, sys
import numpy, torch
before = set(sys.modules)
from mamlkit import Trainer
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_importing_mamlkit_loads_nothing_that_is_slow_to_load() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert "mamlkit.training.learner" in loaded
    slow = [name for name in loaded if name.split(".")[0] in SLOW or name.startswith(SLOW_IN_TORCH)]
    assert slow == []
