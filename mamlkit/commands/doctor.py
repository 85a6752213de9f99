"""``mamlkit doctor``: check this computer and this installation, and give advice on each problem."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mamlkit import datasets
from mamlkit.commands.course import notebooks_folder
from mamlkit.commands.installation import Check, check_platform, check_python, check_versions, version
from mamlkit.commands.jupyter_folders import writable_folders
from mamlkit.core.data_sources import SOURCES
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import cache_dir
from mamlkit.core.system.imports import load_by_name
from mamlkit.engines import compiler
from mamlkit.study.bench import load

INSTALL_LAB = 'Install the notebooks\' packages: pip install "mamlkit[lab]"'
OLDEST_TORCH = (2, 6)
OLDEST_FIGURES = {"matplotlib": (3, 10), "anywidget": (0, 9), "ipywidgets": (8, 1)}
LITTLE_DISK, NO_DISK = 1e9, 5e7  # bytes
LOOK, BUSY = 1.0, 0.4  # seconds of measurement; share of all cores from which on other programs count as a load
COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
KERNEL_PROBE = """
import ast
from jupyter_client.manager import run_kernel
with run_kernel(kernel_name="python3") as client:
    ask = {"prefix": "__import__('sys').prefix"}
    reply = client.execute_interactive("", user_expressions=ask, timeout=60)
    print(ast.literal_eval(reply["content"]["user_expressions"]["prefix"]["data"]["text/plain"]))
"""


def check_torch() -> Check:
    """Check the version of torch, and compare its second derivative of a convolution with finite differences."""
    found = f"torch {torch.__version__}"
    if _release(torch.__version__) < OLDEST_TORCH:
        return Check("torch", "fail", found, 'Install a later torch: pip install "torch>=2.6"')
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 1, 3, 3), (1, 1, 2, 2))
    inputs = tuple(torch.rand(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes)
    try:
        torch.autograd.gradgradcheck(lambda x, w: F.conv2d(x, w).square(), inputs)
    except RuntimeError as error:
        return Check(
            "torch", "fail", f"{found}: {error}", "Install torch again: its second derivatives are wrong here."
        )
    return Check("torch", "ok", f"{found}, second derivatives right")


def check_threads() -> Check:
    """Check that torch does not use more threads than this process has cores."""
    threads, cores = torch.get_num_threads(), load.cores()
    found = f"{threads} for {cores} cores"
    if threads > cores:
        return Check(
            "Threads", "warn", found, f"Set OMP_NUM_THREADS={cores}: more threads than cores wait for another."
        )
    return Check("Threads", "ok", found)


def check_load() -> Check:
    """Check that other programs leave enough of the cores free."""
    busy = load.busy_share(LOOK)
    found = f"other programs use {busy:.0%} of all cores"
    if busy > BUSY:
        return Check("Load", "warn", found, "Close some of them: training beside them takes up to twice as long.")
    return Check("Load", "ok", found)


def check_compiler() -> Check:
    """Check that there is a C++ compiler; without a compiler only the fastest engine is missing."""
    path = compiler.cxx()
    if path is None:
        return Check("C++ compiler", "warn", "none", "Install g++ (or clang++ on a Mac) for training twice as fast.")
    return Check("C++ compiler", "ok", path)


def check_accelerators() -> Check:
    """Name the accelerators that torch sees and their uses; none is required."""
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("Apple GPU, untested and used with device = 'mps' alone")
    return Check("Accelerators", "ok", ", ".join(names) or "none; the course needs none")


def check_kernel() -> Check:
    """Start the Jupyter kernel ``python3`` and check that it runs in this environment."""
    if not (version("ipykernel") and version("jupyter-client")):
        return Check("Jupyter kernel", "warn", "ipykernel is not installed", INSTALL_LAB)
    with writable_folders() as sentence:
        try:
            probe = subprocess.run(
                [sys.executable, "-c", KERNEL_PROBE], check=False, capture_output=True, text=True, timeout=120
            )
        except subprocess.TimeoutExpired:
            return Check("Jupyter kernel", "fail", "it did not answer in two minutes", INSTALL_LAB)
    lines = (probe.stdout if probe.returncode == 0 else probe.stderr).strip().splitlines()
    if probe.returncode:
        return Check("Jupyter kernel", "fail", f"it did not start: {lines[-1] if lines else 'no message'}", INSTALL_LAB)
    if Path(lines[-1]) != Path(sys.prefix):
        advice = "Register this Python as the kernel: python -m ipykernel install --sys-prefix"
        return Check("Jupyter kernel", "fail", f"python3 is another Python, in {lines[-1]}", advice)
    if sentence:
        advice = "mamlkit lab does the same. To keep settings, set HOME to a folder of yours."
        return Check("Jupyter kernel", "warn", sentence, advice)
    return Check("Jupyter kernel", "ok", f"python3 runs this Python, ipykernel {version('ipykernel')}")


def check_figures() -> Check:
    """Check the versions of the packages for still and interactive figures."""
    versions = {name: version(name) for name in OLDEST_FIGURES}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    if not all(versions.values()):
        return Check("Figures", "warn", found, INSTALL_LAB)
    if any(_release(version) < OLDEST_FIGURES[name] for name, version in versions.items()):
        return Check("Figures", "fail", found, 'Bring them up to date: pip install -U "mamlkit[lab]"')
    return Check("Figures", "ok", found)


def check_notebooks() -> Check:
    """Check that the original notebooks are present."""
    try:
        folder = notebooks_folder()
    except InputError as error:
        return Check("Notebooks", "fail", "missing", f"{error}.")
    return Check("Notebooks", "ok", f"{len(list(folder.glob('*.ipynb')))} in {folder}")


def check_glyphs() -> Check:
    """Check that the embedded data set opens."""
    try:
        store = datasets.load("glyphs")
    except (InputError, OSError) as error:
        return Check("Data: glyphs", "fail", "cannot be opened", f"Install mamlkit again: {error}.")
    return Check("Data: glyphs", "ok", f"{len(store.class_names)} classes, {len(store.images)} images")


def check_download(name: str) -> Check:
    """Check whether a downloadable data set is on this computer; only runs on it need it."""
    found = load_by_name(SOURCES[name].find)()
    if not found:
        return Check(f"Data: {name}", "warn", "not on this computer yet", SOURCES[name].how_to_get)
    return Check(f"Data: {name}", "ok", found)


def check_folder(name: str, folder: Path, remedy: str) -> Check:
    """Check that ``folder``, or its nearest existing parent, is writable and has free space.

    Writes: a temporary file, deleted at once.
    """
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Check(name, "fail", f"{folder} cannot be written to ({error.strerror})", f"{remedy}.")
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < LITTLE_DISK:
        return Check(name, "fail" if free < NO_DISK else "warn", found, f"Make room on this disk, or: {remedy}.")
    return Check(name, "ok", found)


def _release(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version: ``"2.13.0+cpu"`` becomes (2, 13)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_platform,
    check_versions,
    check_torch,
    check_threads,
    check_load,
    check_compiler,
    check_accelerators,
    check_kernel,
    check_figures,
    check_notebooks,
    check_glyphs,
    *(partial(check_download, name) for name, source in SOURCES.items() if source.how_to_get),
    lambda: check_folder("Cache", cache_dir().absolute(), "set MAMLKIT_CACHE to another folder"),
    lambda: check_folder("Current folder", Path.cwd(), "run mamlkit from another folder"),
)


def _print_table(checks: list[Check]) -> None:
    table = Table("Check", "Status", "Found, and advice")
    for check in checks:
        advice = f"\n-> {check.advice}" if check.advice else ""
        table.add_row(check.name, Text(check.status, COLOURS[check.status]), Text(check.found + advice))
    Console().print(table)


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def command(*, as_json: bool) -> None:
    """Check this computer and this installation; exit with 1 if a check fails.

    A warning names a missing part of the course; a failure prevents mamlkit from working.
    """
    checks = [check() for check in CHECKS]
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "checks": [check._asdict() for check in checks]}, indent=2))
    else:
        _print_table(checks)
    click.get_current_context().exit(int(failed))
