"""The house rules, read from the source: small rooms, imports that run one way, documented names, a test per module."""

from __future__ import annotations

import ast
import graphlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mamlkit"

# The rooms of the package. A module imports only from rooms to the left of its own, and from its own without a circle.
# "mamlkit" is the package's own __init__, which hands out the names that a user needs.
LAYOUT = ("core", "engines", "datasets", "training", "mamlkit", "runs", "show", "study", "commands", "__main__")
MOST_ROOMS = 8
CORE = LAYOUT[: LAYOUT.index("mamlkit")]
ONLY_IMPORTS = {  # of the whole package
    "mamlkit.core.errors": set(),
    "mamlkit.core.data_sources": set(),
    "mamlkit.core.values": set(),
    "mamlkit.core.contradictions": {"mamlkit.core.data_sources", "mamlkit.core.errors"},
    "mamlkit.core.config": {f"mamlkit.core.{name}" for name in ("contradictions", "data_sources", "errors", "values")},
    "mamlkit.core.schedules": {"mamlkit.core.config", "mamlkit.core.errors"},
}

MAX_MODULE, MAX_FUNCTION, MAX_POSITIONAL = 250, 40, 5  # lines, code lines, arguments; the first two are not reached
ONLY_NOTEBOOKS = {"IPython", "anywidget", "ipywidgets", "matplotlib", "traitlets"}
ONLY_SHELL = {"PIL", "click", "jinja2", "pooch", "rich"}  # for data files, the command line and reports
# platformdirs tells where the cache of compiled code is, filelock guards it; the last three are loaded by torch.
LOADED_ON_IMPORT = {"mamlkit", "torch", "numpy", "filelock", "platformdirs", "tomli", "sympy", "mpmath", "networkx"}

# mamlkit/core/x.py is tested by tests/test_x.py, and mamlkit/show/widgets/x.py by tests/test_widgets_x.py: as many
# folders of its path stand in the name as are needed; or one file, tests/test_widgets.py, tests the whole folder.
# mamlkit/commands/x.py is tested by tests/test_command_x.py. A module without functions needs no test of its own.
TEST_NAMES = {
    "commands": "test_command_{module}.py",
    "__main__.py": "test_main.py",
    "__init__.py": "test_public_names.py",
}

# What would tie a file to one machine: absolute paths of home, work and temporary folders.
MACHINE_PATH = re.compile(r"(?:file://|(?<![\w.+/$}~-]))/(?:work|root|home|Users|tmp|opt)/\w")

MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in MODULES]
each_module = pytest.mark.parametrize("path", MODULES, ids=NAMES)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def place(dotted: str) -> str:
    """Return the place in LAYOUT of a dotted module: "mamlkit.datasets.store" is in "datasets"."""
    return dotted.split(".")[1] if "." in dotted else dotted


def dotted_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


ALL_DOTTED = {dotted_name(path) for path in MODULES}


def imports(path: Path) -> set[str]:
    """Return the dotted modules that a file imports; ``from mamlkit import x`` is mamlkit.x if that is a module."""
    found = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import; write it from mamlkit on"
            dotted = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in ALL_DOTTED else str(node.module) for name in dotted}
    return found


def own_imports(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] == "mamlkit"}


def code_lines(function: Function, source: list[str]) -> int:
    """Count a function's lines of code: without decorators, docstring, comments and blank lines."""
    docstring: range | tuple[()] = ()
    if ast.get_docstring(function) is not None:
        docstring = range(function.body[0].lineno, (function.body[0].end_lineno or 0) + 1)
    lines = range(function.lineno, (function.end_lineno or 0) + 1)
    texts = (source[line - 1].strip() for line in lines if line not in docstring)
    return sum(bool(text) and not text.startswith("#") for text in texts)


def documented(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Yield (name, has a docstring) of the module, its public functions and classes, and their public methods."""
    yield "the module", ast.get_docstring(tree) is not None
    definitions = [node for node in tree.body if isinstance(node, (ast.ClassDef, Function))]
    for node in definitions:
        if node.name.startswith("_"):
            continue
        yield node.name, ast.get_docstring(node) is not None
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(method, Function) and not method.name.startswith("_"):
                yield f"{node.name}.{method.name}", ast.get_docstring(method) is not None


@each_module
def test_a_module_is_under_250_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < MAX_MODULE


@each_module
def test_a_function_is_under_40_lines_of_code_without_its_docstring(path: Path) -> None:
    source = path.read_text("utf-8").splitlines()
    lengths = {function.name: code_lines(function, source) for function in functions(parse(path))}
    assert {name: length for name, length in lengths.items() if length >= MAX_FUNCTION} == {}


@each_module
def test_a_function_takes_at_most_5_positional_arguments(path: Path) -> None:
    too_many = {}
    for function in functions(parse(path)):
        arguments = [argument.arg for argument in function.args.posonlyargs + function.args.args]
        named = [name for name in arguments if name not in ("self", "cls")]
        if len(named) > MAX_POSITIONAL:
            too_many[function.name] = named
    assert too_many == {}


@each_module
def test_a_command_takes_keyword_arguments_only(path: Path) -> None:
    for function in functions(parse(path)):
        called = [ast.unparse(decorator).split("(")[0] for decorator in function.decorator_list]
        if any(name.split(".")[-1] in ("command", "group") for name in called):
            assert function.args.posonlyargs + function.args.args == [], f"{function.name}: put a * first"


@each_module
def test_imports_stand_at_the_top_of_a_module(path: Path) -> None:
    hidden = [
        f"{path.name}:{node.lineno}"
        for function in functions(parse(path))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"))
    ]
    if path == PACKAGE / "core" / "system" / "imports.py":  # what it is for
        assert len(hidden) == 1
        return
    assert hidden == []


@each_module
def test_a_module_imports_only_from_its_left_in_the_layout(path: Path) -> None:
    here = place(dotted_name(path))
    assert here in LAYOUT, f"{here} has no place in LAYOUT yet"
    for name in own_imports(path):
        there = place(name)
        assert there in LAYOUT, f"{there} has no place in LAYOUT yet"
        same_room = there == here and (PACKAGE / here).is_dir()
        assert same_room or LAYOUT.index(there) < LAYOUT.index(here), f"{here} must not import {name}"
        assert name in ONLY_IMPORTS.get(dotted_name(path), ALL_DOTTED), f"{here} must not import {name}"


def test_the_package_has_at_most_eight_rooms_and_nothing_lies_loose_beside_them() -> None:
    at_the_top = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    rooms = {name for name in at_the_top if (PACKAGE / name / "__init__.py").is_file()}
    assert rooms == set(LAYOUT) - {"mamlkit", "__main__"}
    assert len(rooms) <= MOST_ROOMS
    assert at_the_top - rooms == {"__init__.py", "__main__.py", "py.typed"}


def test_no_circle_of_imports() -> None:
    graph = {dotted_name(path): own_imports(path) - {dotted_name(path)} for path in MODULES}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(graph)


@each_module
def test_the_core_never_imports_widgets_or_what_only_notebooks_need(path: Path) -> None:
    if place(dotted_name(path)) in CORE:
        assert "show" not in {place(name) for name in own_imports(path)}
        assert {name.split(".")[0] for name in imports(path)} & ONLY_NOTEBOOKS == set()


@each_module
def test_the_core_beside_the_data_sets_never_imports_what_only_the_shell_needs(path: Path) -> None:
    if place(dotted_name(path)) in set(CORE) - {"datasets"}:
        assert {name.split(".")[0] for name in imports(path)} & ONLY_SHELL == set()


def test_importing_mamlkit_loads_only_torch_and_numpy_and_what_torch_loads() -> None:
    program = """
import json, sys
import numpy, torch
before = set(sys.modules)
from mamlkit import Trainer
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(json.loads(done.stdout))
    assert "mamlkit" in loaded
    assert loaded <= LOADED_ON_IMPORT


@each_module
def test_public_names_have_docstrings(path: Path) -> None:
    assert [name for name, has in documented(parse(path)) if not has] == []


@each_module
def test_a_module_has_its_test_file(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if not any(functions(parse(path))):
        return
    room, module = path.relative_to(PACKAGE).parts[0], parts[-1]
    if room in TEST_NAMES:
        names = {TEST_NAMES[room].format(module=module)}
    else:
        folders = parts[:-1]
        own = folders if module == "__init__" else parts
        names = {f"test_{'_'.join(path[i:])}.py" for path in (own, folders) for i in range(len(path))}
    assert any((ROOT / "tests" / name).is_file() for name in names), f"write tests/{' or tests/'.join(sorted(names))}"


def text_files() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each file that belongs to the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in content[:8000]:
            yield name, content.decode("utf-8")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: git cannot list the repository's files")
def test_no_text_names_a_path_of_one_machine() -> None:
    found = [
        f"{name}:{number}: {line[max(0, match.start() - 20) : match.end() + 20]}"
        for name, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        for match in MACHINE_PATH.finditer(line)
    ]
    assert found == []
