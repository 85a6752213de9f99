"""Compiled functions of ``mamlkit.engines.closed_form``: made once, kept in the cache folder, loaded in milliseconds.

A package is compiled by torch's AOTInductor in a process of its own (see ``mamlkit.engines.build``). Its name holds a
digest of all that it depends on: shape, source, torch, processor, number of threads.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from mamlkit.engines import closed_form
from mamlkit.engines.adjoint import Functions
from mamlkit.engines.closed_form import Gradient, HessianProduct, Shape
from mamlkit.engines.first_stage import Patches
from mamlkit.errors import InputError
from mamlkit.files import cache_dir

SOURCES = (
    "backbone.py",  # its constants
    *(f"engines/{name}.py" for name in ("closed_form", "first_stage", "stage", "build", "compiler")),
)

Run = Callable[[list[Tensor]], list[Tensor]]
Part = tuple[str, Shape]  # name of a function, and what it is compiled for


def cxx() -> str | None:
    """Return the path of the C++ compiler that torch would use, ``$CXX`` or g++ (clang++ on a Mac), if it is here."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX", usual))


def parts(support: Shape, query: Shape) -> list[Part]:
    """Return what a chunk with these support and query sets needs."""
    return list(dict.fromkeys([("gradient", support), ("gradient", query), ("hessian_product", support)]))


def missing(wanted: list[Part]) -> list[Part]:
    """Return those that would have to be compiled first."""
    return [part for part in wanted if not package(part).is_file()]


def compile_parts(wanted: list[Part], on_part: Callable[[int, int], None] | None = None) -> None:
    """Compile what is missing, as many at once as there are threads.

    Args:
        wanted: see ``parts``.
        on_part: called with parts done and parts in all, at the start and after each.

    Raises:
        InputError: there is no C++ compiler, or it failed, or the result does not agree with its source.

    Writes: packages into the cache folder, each whole or not at all.
    """
    todo = missing(wanted)
    if todo and cxx() is None:
        raise InputError("there is no C++ compiler (g++ or clang++) on this machine")
    say = on_part or (lambda done, parts: None)
    if todo:
        say(0, len(todo))
    with concurrent.futures.ThreadPoolExecutor(torch.get_num_threads()) as pool:
        futures = [pool.submit(_compile, part) for part in todo]
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            future.result()
            say(number, len(todo))


def load(support: Shape, query: Shape, *, autocast: bool = False) -> Functions:
    """Return the functions of a chunk, compiled if need be; with ``autocast``, with convolutions in bfloat16.

    Raises:
        InputError: see ``compile_parts``.
    """
    support, query = (dataclasses.replace(shape, autocast=autocast) for shape in (support, query))
    compile_parts(parts(support, query))
    support_run, query_run, product_run = (
        _runner(package(part)) for part in (("gradient", support), ("gradient", query), ("hessian_product", support))
    )

    def product(*arguments: Any, v: Tensor, saved: tuple[Tensor, ...]) -> HessianProduct:
        return HessianProduct(*product_run(_flat(*arguments, v, *saved)))

    def gradient(run: Run, *arguments: Any) -> Gradient:
        loss, logits, theta, gamma, beta, mean, var, *saved = run(_flat(*arguments))
        return Gradient(loss, logits, theta, gamma, beta, mean, var, tuple(saved))

    return Functions(functools.partial(gradient, support_run), functools.partial(gradient, query_run), product)


def call_flat(function: str, shape: Shape, flat: list[Tensor]) -> tuple[Tensor, ...]:
    """Call a function of ``closed_form`` with flat arguments and return its tensors flat."""
    theta, gamma, beta, p, mean, cov, y, *rest = flat
    arguments = shape, theta, (gamma, beta), Patches(p, mean, cov), y
    if function == "gradient":
        *results, saved = closed_form.gradient(*arguments)
        return *results, *saved
    return tuple(closed_form.hessian_product(*arguments, v=rest[0], saved=tuple(rest[1:])))


@functools.lru_cache(maxsize=64)
def _runner(path: Path) -> Run:
    # What torch._inductor.aoti_load_package wraps; importing that costs 80 MB and a second and a half.
    loader: Any = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
    return loader.run  # type: ignore[no-any-return]


def _flat(theta: Tensor, norms: tuple[Tensor, Tensor], patches: Patches, y: Tensor, *rest: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in (theta, *norms, *patches, y, *rest)]


def package(part: Part) -> Path:
    """Return where the compiled code of a part is, or will be."""
    function, shape = part
    what = [function, dataclasses.asdict(shape), facts()]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    return cache_dir() / "compiled" / f"{function}-{digest}.pt2"


def facts() -> dict[str, str]:
    """Return what compiled code depends on beside function and shape."""
    threads = str(torch.get_num_threads())
    return {"torch": torch.__version__, "threads": threads, "processor": _processor(), "source": _source()}


@functools.cache
def _source() -> str:
    package_folder = Path(__file__).parents[1]
    return hashlib.sha256(b"".join((package_folder / name).read_bytes() for name in SOURCES)).hexdigest()


@functools.cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    flags = [line for line in info.read_text().splitlines() if line.startswith("flags")] if info.is_file() else []
    return platform.machine() + torch.backends.cpu.get_cpu_capability() + "".join(flags[:1])


def _compile(part: Part) -> None:
    path = package(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{path}.lock")
    try:
        with FileLock(lock):  # another program may be compiling the same part
            if not path.is_file():
                _compile_into(path, part)
    finally:
        with contextlib.suppress(OSError):  # a program that waits for it has it open
            lock.unlink()


def _compile_into(path: Path, part: Part) -> None:
    function, shape = part
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        out = Path(folder) / path.name
        what = json.dumps(dataclasses.asdict(shape))
        command = [sys.executable, "-m", "mamlkit.engines.build", function, what, str(out)]
        threads = str(torch.get_num_threads())
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder, "OMP_NUM_THREADS": threads}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise InputError(f"compiling {function} failed: {lines[-1] if lines else f'exit code {done.returncode}'}")
        os.replace(out, path)
