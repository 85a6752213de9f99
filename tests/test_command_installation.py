"""The doctor refuses a Python or a platform without packages, and names versions that mamlkit does not declare."""

from __future__ import annotations

import importlib.metadata
import platform
import types

import pytest

from mamlkit.commands import installation


@pytest.mark.parametrize("found", [(3, 9, 1), (3, 15, 0)])
def test_a_python_that_is_too_old_or_too_new_fails(found: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "sys", types.SimpleNamespace(version_info=found, prefix="there"))
    check = installation.check_python()
    assert check[:3] == ("Python", "fail", f"{'.'.join(map(str, found))} in there")
    assert check.advice == "Make the environment anew with Python 3.10 to 3.14."


@pytest.mark.parametrize(
    ("system", "processor", "release", "status"),
    [
        ("Linux", "x86_64", "", "ok"),
        ("Linux", "aarch64", "", "ok"),
        ("Linux", "riscv64", "", "fail"),
        ("Darwin", "arm64", "14.1", "ok"),
        ("Darwin", "arm64", "13.6.1", "fail"),
        ("Darwin", "x86_64", "15.0", "fail"),
        ("Windows", "AMD64", "", "ok"),
        ("Windows", "ARM64", "", "fail"),
    ],
)
def test_each_platform_has_packages_or_is_refused(
    system: str, processor: str, release: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(platform, "mac_ver", lambda: (release, ("", "", ""), ""))
    check = installation.check_platform()
    assert check.status == status
    assert f"on {processor}" in check.found
    assert bool(check.advice) == (status == "fail")


def test_versions_outside_the_declared_ones_are_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installation.check_versions().status == "ok"
    real = importlib.metadata.version
    old = {"pillow": "10.3.0", "ipywidgets": "7.7.1"}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: old.get(name.lower()) or real(name))
    check = installation.check_versions()
    assert check.status == "warn"
    assert "pillow is 10.3.0, needed is >=10." in check.found
    assert "ipywidgets is 7.7.1, needed is <9,>=8." in check.found


def test_a_package_that_is_not_installed_is_no_wrong_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert installation.check_versions().status == "ok"
