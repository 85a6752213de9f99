"""Compiled functions of ``mamlkit.engines.inner_step``: built once, kept in the cache folder, loaded in milliseconds.

torch's AOTInductor compiles a package in a separate process (see ``mamlkit.engines.build``). The package's name has a
digest of shape, source, torch and processor. The code uses one thread: chunks of tasks run side by side.
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

from mamlkit.core.batch_norm import NORM_EPS
from mamlkit.core.errors import InputError
from mamlkit.core.networks import LEAK
from mamlkit.core.system.files import BAD_ARCHIVE, cache_dir, check_writable, discard, replace, why
from mamlkit.engines import native
from mamlkit.engines.adjoint import Functions
from mamlkit.engines.closed_form import Gradient, Shape
from mamlkit.engines.first_stage import Patches
from mamlkit.engines.inner_step import BackStep, InnerStep, back_step, inner_step
from mamlkit.engines.native import Run

SOURCES = tuple(
    f"engines/{name}.py"
    for name in ("inner_step", "closed_form", "packing", "first_stage", "stage", "build", "compiler", "native")
)

KEPT = 60  # packages of about 2 MB; the least recently used are deleted
# Exceptions of a loader from another version of torch, or for a damaged file.
LOAD_ERRORS = (AttributeError, ImportError, *BAD_ARCHIVE)

Part = tuple[str, Shape]  # name of a function, and the shape for which it is compiled


def cxx() -> str | None:
    """Return the path of the C++ compiler that torch would use, or None if there is none.

    This is ``$CXX``, or else g++; clang++ on a Mac, cl on Windows.
    """
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX", usual))


def obstacle() -> str:
    """Return the reason if code cannot be compiled or loaded here, or an empty text."""
    if cxx() is None:
        names = "cl" if sys.platform == "win32" else "g++ or clang++"
        return f"there is no C++ compiler ({names}) on this machine"
    try:
        native.load(Path("no-such-package"))
    except (AttributeError, TypeError):
        return f"torch {torch.__version__} has another loader of compiled code"
    except LOAD_ERRORS:
        pass  # the loader is the expected version: it only misses the file
    return ""


def parts(support: Shape, query: Shape) -> list[Part]:
    """Return the parts for a chunk with these support and query sets."""
    return list(dict.fromkeys([("inner_step", support), ("inner_step", query), ("back_step", support)]))


def missing(wanted: list[Part]) -> list[Part]:
    """Return the parts without a package; a damaged package counts as missing."""
    return [part for part in wanted if not _is_whole(package(part))]


def compile_parts(wanted: list[Part], on_part: Callable[[int, int], None] | None = None) -> None:
    """Compile the missing parts, with torch's number of threads in parallel.

    Args:
        wanted: see ``parts``.
        on_part: called with the finished parts and all parts, at the start and after each part.

    Raises:
        InputError: there is an ``obstacle``, or the cache cannot be written, or the compiler failed, or the result
            cannot be loaded or does not agree with its source.

    Writes: packages in the cache folder, atomically; deletes the least recently used packages.
    """
    todo = missing(wanted)
    if not todo:
        return
    if obstacle():
        raise InputError(obstacle())
    folder, say = package(todo[0]).parent, on_part or (lambda done, parts: None)
    check_writable(package(todo[0]))
    say(0, len(todo))
    with concurrent.futures.ThreadPoolExecutor(torch.get_num_threads()) as pool:
        futures = [pool.submit(_compile, part) for part in todo]
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            future.result()
            say(number, len(todo))
    for part in todo:
        runner(package(part))
    with contextlib.suppress(FileNotFoundError):  # another program deletes packages too
        for path in sorted(folder.glob("*.pt2"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            discard(path)


def load(support: Shape, query: Shape, *, autocast: bool = False) -> Functions:
    """Return the functions of a chunk, compiled if necessary; with ``autocast``, convolutions are in bfloat16.

    Raises:
        InputError: see ``compile_parts``.
    """
    support, query = (dataclasses.replace(shape, autocast=autocast) for shape in (support, query))
    compile_parts(parts(support, query))
    support_run, query_run, back_run = (
        runner(package(part)) for part in (("inner_step", support), ("inner_step", query), ("back_step", support))
    )

    def step(run: Run, *arguments: Any, rates: Tensor) -> InnerStep:
        after, grad_norms, *numbers = run(_flat(*arguments, rates))
        n = len(Gradient._fields) - 1
        return InnerStep(Gradient._make([*numbers[:n], tuple(numbers[n:])]), after, grad_norms)

    def back(*arguments: Any, rates: Tensor, adjoint: Tensor, slope: Tensor, saved: tuple[Tensor, ...]) -> BackStep:
        return BackStep(*back_run(_flat(*arguments, rates, adjoint, slope, *saved)))

    return Functions(functools.partial(step, support_run), functools.partial(step, query_run), back)


def call_flat(function: str, shape: Shape, flat: list[Tensor]) -> tuple[Tensor, ...]:
    """Call a function of ``inner_step`` with flat arguments and return its tensors flat, those of the gradient last."""
    theta, gamma, beta, p, mean, cov, y, rates, *rest = flat
    arguments = shape, theta, (gamma, beta), Patches(p, mean, cov), y
    if function == "inner_step":
        gradient, *step = inner_step(*arguments, rates=rates)
        *numbers, saved = gradient
        return *step, *numbers, *saved
    adjoint, slope, *kept = rest
    return tuple(back_step(*arguments, rates=rates, adjoint=adjoint, slope=slope, saved=tuple(kept)))


@functools.lru_cache(maxsize=64)
def runner(path: Path) -> Run:
    """Load a package and return its function.

    Raises:
        InputError: the package cannot be loaded.

    Writes: the package's time of last use.
    """
    try:
        run = native.load(path)
    except LOAD_ERRORS as error:
        raise InputError(f"the compiled code {path} cannot be loaded ({why(error)})") from error
    with contextlib.suppress(OSError):  # a read-only cache
        os.utime(path)
    return run


def _is_whole(path: Path) -> bool:
    try:
        return path.is_file() and bool(runner(path))
    except InputError:
        return False


def _flat(theta: Tensor, norms: tuple[Tensor, Tensor], patches: Patches, y: Tensor, *rest: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in (theta, *norms, *patches, y, *rest)]


def package(part: Part) -> Path:
    """Return the path for the compiled code of a part."""
    function, shape = part
    what = [function, dataclasses.asdict(shape), facts()]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    return cache_dir() / "compiled" / f"{function}-{digest}.pt2"


def facts() -> dict[str, str]:
    """Return the factors of compiled code besides function and shape."""
    constants = f"epsilon {NORM_EPS}, slope {LEAK}"
    return {"torch": torch.__version__, "processor": _processor(), "source": _source(), "constants": constants}


@functools.cache
def _source() -> str:
    package_folder = Path(__file__).parents[1]
    return hashlib.sha256(b"".join((package_folder / name).read_bytes() for name in SOURCES)).hexdigest()


@functools.cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    flags = [line for line in lines if line.startswith("flags")]
    return platform.machine() + torch.backends.cpu.get_cpu_capability() + "".join(flags[:1])


def _compile(part: Part) -> None:
    path = package(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{path}.lock")
    try:
        with FileLock(lock):  # another program may be compiling the same part
            if not _is_whole(path):
                _compile_into(path, part)
    finally:
        with contextlib.suppress(OSError):  # a waiting program has it open
            lock.unlink()


def _compile_into(path: Path, part: Part) -> None:
    function, shape = part
    # Windows does not delete libraries in use; the other process releases its libraries when it ends.
    with tempfile.TemporaryDirectory(dir=path.parent, ignore_cleanup_errors=True) as folder:
        out = Path(folder) / path.name
        what = json.dumps(dataclasses.asdict(shape))
        command = [sys.executable, "-m", "mamlkit.engines.build", function, what, str(out)]
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise InputError(f"compiling {function} failed: {lines[-1] if lines else f'exit code {done.returncode}'}")
        replace(out, path)
