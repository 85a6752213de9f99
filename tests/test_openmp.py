"""How long OpenMP's threads wait: set before torch is loaded, for what is started too, unless the user has said it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mamlkit.core.system import openmp

ROOT = Path(__file__).parents[1]
PROGRAM = """
import json, os, sys

class Watch:
    def find_spec(self, name, *_):
        if name == "torch" and "then" not in found:
            found["then"] = {key: value for key, value in os.environ.items() if key in KEYS}

found, KEYS = {}, json.loads(sys.argv[1])
sys.meta_path.insert(0, Watch())
import mamlkit; mamlkit.Trainer
print(json.dumps(found["then"]))
"""
KEYS = (openmp.POLICY, *openmp.BRIEF)


def seen_by_torch(**own: str) -> dict[str, str]:
    """Return the settings that are there when a fresh process that imports mamlkit begins to load torch."""
    environment = {key: value for key, value in os.environ.items() if key not in KEYS} | own
    command = [sys.executable, "-c", PROGRAM, json.dumps(KEYS)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_threads_wait_briefly_from_before_torch_is_loaded() -> None:
    assert seen_by_torch() == openmp.BRIEF


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}, {"KMP_BLOCKTIME": "200"}])
def test_what_the_user_has_set_wins(own: dict[str, str]) -> None:
    assert seen_by_torch(**own) == own
