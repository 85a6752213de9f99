"""The package as a whole: its versions agree, its wheel is complete, and CI runs the command of the README."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
CONDA_NAMES = {"torch": "pytorch"}
INSTALL = 'python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e "{}" && .venv/bin/'


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"])


def environment(python: str) -> dict[str, str]:
    """Return the marker variables of CPython on Linux."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }


def applies(requirement: Requirement, python: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment(python))


def direct(python: str) -> Iterator[Requirement]:
    """Yield the direct dependencies of the base and of every extra."""
    extras = project()["optional-dependencies"]
    for text in [*project()["dependencies"], *(text for group in extras.values() for text in group)]:
        requirement = Requirement(text)
        if requirement.name != "mamlkit" and applies(requirement, python):
            yield requirement


def pinned(python: str) -> dict[str, str]:
    """Return {name: version} of constraints.txt for one Python; a name must not be pinned twice."""
    pins: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        requirement = Requirement(line) if line and not line.startswith("#") else None
        if requirement is None or not applies(requirement, python):
            continue
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        assert canonicalize_name(requirement.name) not in pins, f"{requirement.name} is pinned twice for {python}"
        pins[canonicalize_name(requirement.name)] = specifier.version
    return pins


def conda() -> tuple[str, dict[str, str], list[str]]:
    """Return environment.yml's Python, {name: version} of all it names, and the other lines for pip."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    (pip_lines,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    versions = dict(entry.split("=") for entry in entries if isinstance(entry, str) and "=" in entry)
    versions |= dict(line.split("==") for line in pip_lines if "==" in line)
    return versions.pop("python"), versions, [line for line in pip_lines if "==" not in line]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_dependency_is_pinned_inside_its_range(python: str) -> None:
    pins = pinned(python)
    for requirement in direct(python):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is missing in constraints.txt for Python {python}"
        assert requirement.specifier.contains(Version(version)), f"{requirement} excludes the tested {version}"


def test_the_conda_environment_has_every_direct_dependency_at_the_pinned_version() -> None:
    python, versions, pip_lines = conda()
    assert python in PYTHONS
    pins = pinned(python)
    names = {canonicalize_name(requirement.name) for requirement in direct(python)}
    assert versions == {CONDA_NAMES.get(name, name): pins[name] for name in names}
    assert pip_lines == ["-c constraints.txt", "-e ."]


def test_every_direct_dependency_has_a_lower_bound() -> None:
    for requirement in direct("3.10"):
        assert any(specifier.operator == ">=" for specifier in requirement.specifier), requirement


def test_the_supported_pythons_are_named_alike_everywhere() -> None:
    prefix = "Programming Language :: Python :: "
    named = [text.removeprefix(prefix) for text in project()["classifiers"] if text.startswith(prefix)]
    assert named == ["3", *PYTHONS]
    assert project()["requires-python"] == f">={PYTHONS[0]}"


def test_no_gpu_package_is_pinned() -> None:
    assert not [name for name in pinned("3.11") if re.match("nvidia|cuda|triton", name)]


def test_the_extra_all_holds_every_other_extra() -> None:
    extras = project()["optional-dependencies"]
    (everything,) = (Requirement(text) for text in extras["all"])
    assert everything.extras == set(extras) - {"all"}


def test_the_readme_gives_the_two_commands_that_ci_runs() -> None:
    commands = [line.strip() for line in (ROOT / "README.md").read_text("utf-8").splitlines() if "venv .venv" in line]
    assert INSTALL.format(".[lab]") + "mamlkit tour" in commands
    assert INSTALL.format(".[all]") + "python -m pytest" in commands
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    (pattern,) = re.findall(r"grep -m 1 -E '(.+)' README\.md", script)
    assert [command for command in commands if re.search(pattern, command)] == [
        INSTALL.format(".[all]") + "python -m pytest"
    ]
    assert "-m pytest" not in script.replace(pattern, "")
    assert 'tests="${readme_command##* && } --all"' in script


def test_the_changelog_names_this_version_or_the_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]" in text or f"## [{project()['version']}]" in text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_has_the_data_the_course_and_everything_of_the_package(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    sources = [*(ROOT / "mamlkit").rglob("*.*"), *(ROOT / "notebooks").glob("*.ipynb")]
    files = [
        path.relative_to(ROOT).as_posix() for path in sources if path.is_file() and "__pycache__" not in path.parts
    ]
    expected = {name if name.startswith("mamlkit/") else f"mamlkit/{name}" for name in files}
    assert expected | {"mamlkit/datasets/glyphs.npz"} <= names
    assert any(re.fullmatch(r"mamlkit/notebooks/00.*\.ipynb", name) for name in names)
    assert any(re.fullmatch(r"mamlkit/study/golden_cases/.*\.npz", name) for name in names)
    assert "mamlkit/py.typed" in names
    assert wheel.read("mamlkit/datasets/glyphs.npz") == (ROOT / "data" / "glyphs.npz").read_bytes()


def test_the_wheel_has_nothing_else_and_is_small(wheel: zipfile.ZipFile) -> None:
    names = [name for name in wheel.namelist() if not re.match(r"mamlkit(-[\d.]+\.dist-info)?/", name)]
    assert names == []
    assert sum(info.compress_size for info in wheel.infolist()) < 20e6


def test_the_wheel_names_the_license_and_the_command(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    assert "License-Expression: MIT" in wheel.read(metadata).decode()
    assert wheel.read(metadata.replace("METADATA", "licenses/LICENSE")) == (ROOT / "LICENSE").read_bytes()
    assert "mamlkit = mamlkit.__main__:main" in wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode()
