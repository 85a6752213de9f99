"""The doctor's checks of Python, of the platform, and of the versions of all packages that mamlkit declares."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from typing import NamedTuple

from packaging.requirements import Requirement

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 14)
MACOS = 14  # oldest release that torch's packages are built for
PLATFORMS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"), ("Windows", "AMD64")}
NAMED = "Windows x64, macOS 14 or later on Apple silicon, and Linux on x64 or Arm"


class Check(NamedTuple):
    """One line of the report; ``advice`` is one sentence, or empty if ``status`` is ok."""

    name: str
    status: str  # ok, warn or fail
    found: str
    advice: str = ""


def version(package: str) -> str:
    """Return the installed version of a package; empty if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_python() -> Check:
    """Check that mamlkit and torch support this version of Python."""
    found = f"{'.'.join(map(str, sys.version_info[:3]))} in {sys.prefix}"
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Check("Python", "fail", found, "Make the environment anew with Python 3.10 to 3.14.")
    return Check("Python", "ok", found)


def check_platform() -> Check:
    """Check that there are packages of torch for this system and this processor."""
    system, processor, release = platform.system(), platform.machine(), platform.mac_ver()[0]
    found = f"{system} {release} on {processor}".replace("  ", " ")
    old = system == "Darwin" and release != "" and int(release.split(".")[0]) < MACOS
    if (system, processor) not in PLATFORMS or old:
        return Check("Platform", "fail", found, f"The packages are built for {NAMED}; use such a computer.")
    return Check("Platform", "ok", found)


def check_versions() -> Check:
    """Compare the installed packages with the versions that mamlkit declares, extras included."""
    wrong = sorted(set(_wrong()))
    if wrong:
        advice = "Bring them to these versions: pip install --upgrade, with -c constraints.txt for the tested ones."
        return Check("Versions", "warn", "; ".join(wrong), advice)
    return Check("Versions", "ok", "all installed packages have versions that mamlkit declares")


def _wrong() -> Iterator[str]:
    extras = importlib.metadata.metadata("mamlkit").get_all("Provides-Extra") or []
    for text in importlib.metadata.requires("mamlkit") or []:
        need = Requirement(text)
        installed = version(need.name)
        applies = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if installed and applies and not need.specifier.contains(installed, prereleases=True):
            yield f"{need.name} is {installed}, needed is {need.specifier}"
