"""The base installation: the library and its command line without what only extras bring."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mamlkit.commands import doctor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]

BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.split(".")[0] in {absent} else found(name, *rest)
sys.meta_path.insert(0, Absent())

import json

def run(arguments):
    from click.testing import CliRunner
    from mamlkit.__main__ import main
    result = CliRunner().invoke(main, arguments.split())
    return result.exit_code, result.stdout, result.stderr or repr(result.exception)
"""
TINY = (
    "--n-way 2 --q-query 1 --eval-query 1 --n-steps 1 --filters 2 --n-tasks 2 --epochs 1 --iterations-per-epoch 1 "
    "--val-episodes 2 --test-episodes 2 --ensemble 1 --engine vmap"
)
NEEDS = {  # command -> what it says, and the extra that it names
    "tour": ("mamlkit tour needs jinja2 and matplotlib;", "plots"),
    "bench": ("the figure of mamlkit bench needs matplotlib;", "plots"),
    "lab": ("mamlkit lab needs jupyterlab;", "lab"),
    "dash": ("mamlkit dash needs voila;", "dash"),
    "site out": ("mamlkit site needs jinja2, latex2mathml and nbconvert;", "site"),
    "reproduce stability": ("a grid of runs needs distributed, ", "reproduce"),
    "bench --ui": ("--ui needs playwright, ", "test"),
    "data wall sheets": ("a sheet of drawings needs jsonschema;", "lab"),
    "data omniglot": ("the download of Omniglot needs pooch;", "omniglot"),
    "train --tensorboard": ("--tensorboard needs TensorBoard;", "tensorboard"),
}
IMPORT_NAMES = {
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "pytest-xdist": "xdist",
    "tomli-w": "tomli_w",
}


def only_in_extras() -> list[str]:
    """Return what the extras install beyond the base, by the name for ``import``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = (text for texts in project["optional-dependencies"].values() for text in texts)
    extra, base = (
        {re.split(r"[\[<>=;]", text)[0].strip() for text in texts} for texts in (extras, project["dependencies"])
    )
    return sorted(IMPORT_NAMES.get(name, name) for name in extra - base - {"mamlkit"})


def python(folder: Path, program: str) -> Any:
    """Run a program where nothing that an extra installs can be imported, and return the last line it prints, as JSON.

    In the program ``run(arguments)`` runs the command line and returns the exit code, the output and the error.
    """
    source = BLOCK.format(absent=set(only_in_extras())) + program
    environment = {**os.environ, "MAMLKIT_DATA": "", "MAMLKIT_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_extras_hold_what_draws_checks_and_downloads() -> None:
    assert {"matplotlib", "jinja2", "jsonschema", "pooch"} <= set(only_in_extras())
    assert {"torch", "numpy", "pillow", "rich", "tqdm"}.isdisjoint(only_in_extras())


def test_the_library_is_imported_and_opens_the_embedded_data_without_them(tmp_path: Path) -> None:
    program = """
import mamlkit
from mamlkit.datasets import load
print(json.dumps([len(load("glyphs").class_names), len(load("glyphs", image_size=16).images)]))
"""
    assert python(tmp_path, program) == [1050, 21000]


def test_the_commands_of_the_base_run_without_them(tmp_path: Path) -> None:
    commands = [f"train --out run {TINY}", "evaluate run", "list", "list mamlpp", "data", "data glyphs", "--help"]
    found = python(tmp_path, f"print(json.dumps([run(arguments) for arguments in {commands}]))")
    for arguments, (code, stdout, stderr) in zip(commands, found, strict=True):
        assert code == 0, f"{arguments}: {stderr}"
        assert stdout, arguments
    assert (tmp_path / "run" / "result.json").is_file()


def test_a_command_of_an_extra_says_how_to_get_it_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / "ann.json").write_text("{}")
    found = python(tmp_path, f"print(json.dumps([run(arguments) for arguments in {list(NEEDS)}]))")
    for (arguments, (needs, extra)), (code, stdout, stderr) in zip(NEEDS.items(), found, strict=True):
        said = " ".join(stderr.split())
        assert (code, said.count("Error: "), stdout) == (2, 1, ""), arguments
        assert said.startswith(f"Error: {needs}"), arguments
        assert said.endswith(f'pip install "mamlkit[{extra}]"'), arguments
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["ann.json", "sheets"]


def test_doctor_warns_of_what_the_extras_would_bring_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    version, absent = doctor.version, set(only_in_extras()) | {"jupyter-client"}
    monkeypatch.setattr(doctor, "version", lambda package: "" if package in absent else version(package))
    checks = [doctor.check_kernel(), doctor.check_figures()]
    assert [(check.status, 'pip install "mamlkit[lab]"' in check.advice) for check in checks] == [("warn", True)] * 2
