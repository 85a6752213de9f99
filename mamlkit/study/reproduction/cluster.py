"""Run the cells of a grid by Dask: on this machine, or on a cluster that the user has."""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dask.system import CPU_COUNT
from distributed import Client, Future, LocalCluster, wait
from distributed.client import FIRST_COMPLETED, FuturesCancelledError
from distributed.system import MEMORY_LIMIT

from mamlkit import __version__
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import why
from mamlkit.study.reproduction.cell import Outcome, run_cell
from mamlkit.study.reproduction.plan import Cell

CELL_BYTES = 3e9  # memory that one cell may need, of 20 classes and 64 filters, where nothing is compiled
CONNECT_SECONDS = 15
WORKERS = "dask worker ADDRESS --nthreads 1 --nworkers N"
TICK_SECONDS = 1.0


class Size(NamedTuple):
    """Cells at once on this machine, and threads of each."""

    workers: int
    threads: int


def local_size(cells: int, cores: int = CPU_COUNT, memory: float = MEMORY_LIMIT) -> Size:
    """Return how many cells to run at once, so that neither cores nor memory are asked for twice.

    One core for each cell is best: its matrices are too small to share. Fewer cells than cores share what is left.

    Args:
        cells: how many there are to run.
        cores: of this machine.
        memory: that programs may use here, bytes.

    Pure: no state but this machine's.
    """
    workers = max(1, min(cells, cores, int(memory // CELL_BYTES)))
    return Size(workers, max(1, cores // workers))


@contextlib.contextmanager
def local(size: Size) -> Iterator[Client]:
    """Start workers on this machine, a process each, and end them."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(size.threads))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # on Windows a worker may still end
        with _deaf_to_ctrl_c():
            cluster = LocalCluster(
                n_workers=size.workers,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                env=threads,  # goes before what the user has set, who may not know of several cells at once
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
                preload=[__name__],  # see dask_setup
            )
        with cluster, Client(cluster) as client:
            yield client


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C for a moment; on POSIX the processes that are started meanwhile ignore it from the first on."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def dask_setup(_: object) -> None:
    """Let a worker ignore Ctrl-C, one that replaces another too, and on Windows, where nothing is inherited.

    Dask calls this function of a module in ``preload``, with the worker.

    Writes: what this process does at Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def remote(address: str) -> Iterator[Client | None]:
    """Connect to the user's cluster; give None where there is no address.

    Args:
        address: of the scheduler, as ``tcp://host:8786``.

    Raises:
        InputError: nobody answers there.
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
    """Make sure that the user's workers see the folder and have this version.

    Args:
        client: of the cluster.
        folder: of the grid; must be on a file system that all workers share.

    Raises:
        InputError: there is no worker, or one cannot do it; one with several threads would run several cells at once,
            and they would take each other's working folder.

    Writes: a file in the folder for a moment.
    """
    token = folder.absolute() / f".seen-{secrets.token_hex(8)}"
    token.touch()
    try:
        seen = client.run(probe, token, on_error="return")
    finally:
        token.unlink(missing_ok=True)
    if not seen:
        raise InputError(f"--scheduler: the cluster has no workers; start some by: {WORKERS}")
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
    """Run cells until each is done or has failed; the cell of a worker that died is run again.

    Args:
        client: of a cluster.
        folder: of the grid.
        cells: to run, in this order.
        notebook: text of notebook 09.
        on_outcome: called as soon as a cell ends.
        on_tick: called about once a second.

    Raises:
        InputError: the cluster was restarted or lost.

    Writes: the folders of the cells.
    """
    once = secrets.token_hex(4)  # a cluster may still know an earlier call by its name
    pending = {}  # a call that ended must not be held: it would be run again if its worker died later
    for number, cell in enumerate(cells):
        key = f"{cell.name}-{once}"
        pending[client.submit(run_cell, folder.absolute(), cell, notebook, key=key, priority=-number)] = cell.name
    try:
        while pending:
            with contextlib.suppress(TimeoutError):
                wait(list(pending), timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            for future in [future for future in pending if future.done()]:
                on_outcome(_outcome(future, pending.pop(future)))
            on_tick()
    except FuturesCancelledError as error:
        raise InputError("the cluster was restarted or lost; the same command goes on from here") from error
    finally:
        client.cancel(list(pending))


def _outcome(future: Future[Outcome], name: str) -> Outcome:
    if future.status == "error":
        return Outcome(name, f"{type(future.exception()).__name__}: {future.exception()}")
    return future.result()
