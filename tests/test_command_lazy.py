"""Modules that are loaded when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mamlkit.commands.lazy import lazily


def test_a_module_is_loaded_when_it_is_first_used() -> None:
    program = """
import sys
from mamlkit.commands.lazy import lazily
module = lazily("mamlkit.show.report")
import torch._dynamo, inspect
inspect.getmodule(inspect.currentframe())  # as torch does: it asks every module of sys.modules
assert "jinja2" not in sys.modules, "loaded too early"
assert module.TEMPLATE.is_file()
assert "jinja2" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_module_that_is_nowhere_cannot_be_loaded_later() -> None:
    with pytest.raises(ModuleNotFoundError, match="mamlkit_nowhere"):
        lazily("mamlkit_nowhere")
