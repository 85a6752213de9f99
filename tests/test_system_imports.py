"""Imports by name: what is named, what is slow to load, and what an extra brings."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

from mamlkit.core.errors import InputError
from mamlkit.core.system import imports
from mamlkit.core.system.imports import check_installed, lazily, load_by_name


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(imports)
    assert (result.attempted, result.failed) == (1, 0)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path, from which nothing stays imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def test_a_function_of_a_users_module_is_loaded_by_its_name(modules: Path) -> None:
    (modules / "own_nets").mkdir()
    (modules / "own_nets" / "small.py").write_text("class Net:\n    @staticmethod\n    def make():\n        return 7\n")
    assert load_by_name("own_nets.small:Net.make")() == 7


@pytest.mark.parametrize(
    "name", ["", "math", "math.sqrt", ":sqrt", "math:", "math:sqrt:x", "a b:c", "../x:y", "x.py:y"]
)
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"is not of the form module:attribute, such as"):
        load_by_name(name)


@pytest.mark.parametrize(
    ("source", "name", "sentence"),
    [
        ("", "own:make", "'own:make': the module own has no attribute 'make'"),
        ("make = 3", "own:make.net", "'own:make.net': the module own has no attribute 'make.net'"),
        ("", "owm:make", "'owm:make': there is no module owm; it must be installed, or lie in a folder of PYTHONPATH"),
        ("", "absent_own.nets:make", "'absent_own.nets:make': there is no module absent_own;"),
        ("import not_there", "own:make", "own cannot be imported (ModuleNotFoundError: No module named 'not_there')"),
        ("def f(:", "own:make", "the module own cannot be imported (SyntaxError: "),
        ("raise RuntimeError('two\\nlines')", "own:make", "own cannot be imported (RuntimeError: two lines)"),
        ("raise ValueError", "own:make", "own cannot be imported (ValueError)"),
        ("import sys\nsys.exit(3)", "own:make", "own cannot be imported (SystemExit: 3)"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_sentence(modules: Path, source: str, name: str, sentence: str) -> None:
    (modules / "own.py").write_text(source)
    with pytest.raises(InputError) as caught:
        load_by_name(name)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    check_installed("the test", ("numpy", "torch"), extra="lab")
    for packages, names in (
        (("numpy", "mamlkit_a"), "mamlkit_a"),
        (("mamlkit_a", "torch", "mamlkit_b"), "mamlkit_a and mamlkit_b"),
        (("mamlkit_a", "mamlkit_b", "mamlkit_c"), "mamlkit_a, mamlkit_b and mamlkit_c"),
    ):
        with pytest.raises(InputError) as caught:
            check_installed("the test", packages, extra="lab")
        assert str(caught.value) == f'the test needs {names}; install with: pip install "mamlkit[lab]"'


def test_a_module_is_loaded_when_it_is_first_used() -> None:
    program = """
import sys
from mamlkit.core.system.imports import lazily
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
