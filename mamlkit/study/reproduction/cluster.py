"""Run the cells of a grid with Dask, on this machine or on the user's cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dask.system import CPU_COUNT
from distributed import Client, Future, LocalCluster, as_completed
from distributed.system import MEMORY_LIMIT

from mamlkit import __version__
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import why
from mamlkit.study.reproduction.cell import Outcome, run_cell
from mamlkit.study.reproduction.plan import Cell

CELL_BYTES = 3e9  # memory of one cell with 20 classes and 64 filters, if nothing is compiled
CONNECT_SECONDS = 15
WORKERS = "dask worker ADDRESS --nthreads 1 --nworkers N"
TICK_SECONDS, LOOK_SECONDS = 1.0, 0.05


class Size(NamedTuple):
    """The number of parallel cells on this machine, and the number of threads of each."""

    workers: int
    threads: int


def local_size(cells: int, cores: int = CPU_COUNT, memory: float = MEMORY_LIMIT) -> Size:
    """Return the number of cells to run in parallel, within the limits of cores and memory.

    One core for each cell is best, because its matrices are too small to share. If there are fewer cells than cores,
    the cells share the remaining cores.

    Args:
        cells: number of cells to run.
        cores: number of cores of this machine.
        memory: memory available to programs, bytes.
    """
    workers = max(1, min(cells, cores, int(memory // CELL_BYTES)))
    return Size(workers, max(1, cores // workers))


@contextlib.contextmanager
def local(size: Size) -> Iterator[Client]:
    """Start workers on this machine, one process each, and end them."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(size.threads))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # on Windows a worker may still be ending
        with _deaf_to_ctrl_c():
            cluster = LocalCluster(
                n_workers=size.workers,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                env=threads,  # before the user's settings, which may not expect several cells at once
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
                preload=[__name__],  # see dask_setup
            )
        with cluster, Client(cluster) as client:
            yield client


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C for a moment; on POSIX, processes started meanwhile ignore it from the start."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def dask_setup(_: object) -> None:
    """Make a worker ignore Ctrl-C, also a replacement worker, and on Windows, where nothing is inherited.

    Dask calls this function of a module in ``preload``, with the worker.

    Writes: the process's reaction to Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def remote(address: str) -> Iterator[Client | None]:
    """Connect to the user's cluster; return None if there is no address.

    Args:
        address: address of the scheduler, such as ``tcp://host:8786``.

    Raises:
        InputError: no scheduler answers at the address.
    """
    if not address:
        yield None
        return
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"--scheduler {address}: no Dask scheduler answers there; give an address as tcp://host:8786"
        ) from error
    with client:
        yield client


def check_workers(client: Client, folder: Path) -> None:
    """Raise unless the user's workers see the folder and have this version.

    Args:
        client: client of the cluster.
        folder: folder of the grid, on a file system that all workers share.

    Raises:
        InputError: there is no worker, or a worker is unsuitable. A worker with several threads would run several cells
            at once, in one working folder.

    Writes: a temporary file in the folder.
    """
    token = folder.absolute() / f".seen-{secrets.token_hex(8)}"
    token.touch()
    try:
        seen = client.run(probe, token, on_error="return")
    finally:
        token.unlink(missing_ok=True)
    if not seen:
        raise InputError(f"--scheduler: the cluster has no workers; start some with: {WORKERS}")
    threads = client.nthreads()
    for worker, found in seen.items():
        if isinstance(found, Exception):
            raise InputError(f"worker {worker} cannot run mamlkit ({why(found)}); install it there too")
        version, sees = found
        if version != __version__:
            raise InputError(f"worker {worker} has mamlkit {version}; {__version__} is needed")
        if not sees:
            raise InputError(f"worker {worker} does not see --out {folder}; choose a folder that all workers share")
        if threads.get(worker, 1) > 1:
            raise InputError(f"worker {worker} has {threads[worker]} threads; 1 is allowed: {WORKERS}")


def probe(token: Path) -> tuple[str, bool]:
    """Return a worker's version of mamlkit, and whether it sees a file."""
    return __version__, token.is_file()


def run_cells(
    client: Client,
    folder: Path,
    cells: Sequence[Cell],
    notebook: str,
    *,
    on_outcome: Callable[[Outcome], None],
    on_tick: Callable[[], None],
) -> None:
    """Run cells until each is done or has failed; if a worker dies, run its cell again.

    Args:
        client: client of the cluster.
        folder: folder of the grid.
        cells: the cells, in the order of execution.
        notebook: text of notebook 09; empty: train the cells without a notebook.
        on_outcome: called as soon as a cell ends.
        on_tick: called about once a second.

    Raises:
        InputError: the cluster was restarted or lost.

    Writes: the folders of the cells.
    """
    once = secrets.token_hex(4)  # the cluster may still know an earlier call by its name
    pending = {}  # a finished call must be released: otherwise it would run again if its worker died later
    for number, cell in enumerate(cells):
        key = f"{cell.name}-{once}"
        pending[client.submit(run_cell, folder.absolute(), cell, notebook, key=key, priority=-number)] = cell.name
    ended, ticked = as_completed(list(pending)), -math.inf
    try:
        while pending:
            for future in ended.next_batch(block=False):
                if future.cancelled():
                    raise InputError("the cluster was restarted or lost; the same command continues from here")
                on_outcome(_outcome(future, pending.pop(future)))
            if time.monotonic() - ticked >= TICK_SECONDS or not pending:
                on_tick()
                ticked = time.monotonic()
            time.sleep(LOOK_SECONDS)
    finally:
        client.cancel(list(pending))


def _outcome(future: Future[Outcome], name: str) -> Outcome:
    if future.status == "error":
        return Outcome(name, f"{type(future.exception()).__name__}: {future.exception()}")
    return future.result()
