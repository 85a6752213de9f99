"""Cells on real Dask clusters: sizes that fit the machine, and what a user's cluster must have."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from test_reproduction_cell import BEGIN_A_RUN, notebook

from mamlkit.core.errors import InputError
from mamlkit.study.reproduction import cluster
from mamlkit.study.reproduction.cell import Outcome, is_done
from mamlkit.study.reproduction.cluster import Size, check_workers, local_size, remote, run_cells
from mamlkit.study.reproduction.plan import Cell

CELLS = [Cell(f"some-seed{seed}", "some", seed, {"seed": seed, "overrides": {}}, {}) for seed in range(3)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of the user's own: a scheduler and a worker, each a process or behind a port."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as own:
        yield own.scheduler_address


@pytest.mark.parametrize(
    ("cells", "cores", "gigabytes", "expected"),
    [
        (21, 2, 16, Size(2, 1)),
        (21, 8, 64, Size(8, 1)),
        (21, 8, 8, Size(2, 4)),  # memory for two
        (3, 8, 64, Size(3, 2)),
        (1, 8, 64, Size(1, 8)),
        (5, 4, 0.5, Size(1, 4)),
    ],
)
def test_neither_cores_nor_memory_are_asked_for_twice(cells: int, cores: int, gigabytes: float, expected: Size) -> None:
    assert local_size(cells, cores, gigabytes * 1e9) == expected


def test_workers_of_this_machine_have_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "16")  # meant for one program, not for several at once
    with cluster.local(Size(1, 3)) as client:
        assert client.submit(os.getenv, "OMP_NUM_THREADS").result() == "3"


def test_waiting_for_a_long_grid_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(folder: Path, cell: Cell, notebook: str) -> Outcome:
        time.sleep(0.5)
        return Outcome(cell.name)

    async def tasks() -> int:
        return len(asyncio.all_tasks())

    monkeypatch.setattr(cluster, "run_cell", slow)
    monkeypatch.setattr(cluster, "TICK_SECONDS", 0.02)
    counts: list[int] = []
    outcomes: list[Outcome] = []
    with cluster.local(Size(1, 1)) as client:

        def count() -> None:
            counts.append(client.sync(tasks))

        run_cells(client, tmp_path, CELLS, "", on_outcome=outcomes.append, on_tick=count)
    assert [outcome.cell for outcome in outcomes] == [cell.name for cell in CELLS]
    assert len(counts) > 5
    assert max(counts[2:]) <= max(counts[:2]) + 3


@pytest.mark.long
def test_a_worker_of_this_machine_is_killed_without_loss(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    counts = f"open({str(tmp_path / 'begun')!r}, 'a').write(f'{{seed}} ')"
    waits = f"import time\n{counts}\nif seed:\n    time.sleep(6)\n{BEGIN_A_RUN}"
    killed = False
    with cluster.local(Size(1, 3)) as client:
        [worker] = client.run(os.getpid).values()

        def kill() -> None:
            nonlocal killed
            if outcomes and not killed and (tmp_path / "cells" / "some-seed1").exists():
                killed = True
                first.append((tmp_path / "cells" / "some-seed0" / "cell.json").stat().st_mtime_ns)
                time.sleep(2)
                os.kill(worker, signal.SIGKILL)

        first: list[int] = []
        run_cells(client, tmp_path, CELLS[:2], notebook(waits), on_outcome=outcomes.append, on_tick=kill)
    assert killed
    assert [outcome.error for outcome in outcomes] == ["", ""]
    assert all(is_done(tmp_path, cell) for cell in CELLS[:2])
    assert (tmp_path / "cells" / "some-seed0" / "cell.json").stat().st_mtime_ns == first[0]
    assert (tmp_path / "begun").read_text("utf-8") == "0 1 1 "  # the one that was done is not run again


@pytest.mark.long
def test_a_cell_that_fails_does_not_stop_the_others_on_a_cluster_of_the_user(address: str, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    fails = f"assert seed != 1, 'not this one'\n{BEGIN_A_RUN}"
    with remote(address) as client:
        assert isinstance(client, Client)
        check_workers(client, tmp_path)
        run_cells(client, tmp_path, CELLS, notebook(fails), on_outcome=outcomes.append, on_tick=lambda: None)
    assert [outcome.cell for outcome in outcomes if outcome.error] == ["some-seed1"]
    assert [is_done(tmp_path, cell) for cell in CELLS] == [True, False, True]
    assert not list(tmp_path.glob(".seen*"))


def test_no_address_is_no_cluster() -> None:
    with remote("") as client:
        assert client is None


@pytest.mark.parametrize("wrong", ["tcp://127.0.0.1:9", "nonsense://x", "127.0.0.1:port"])
def test_an_address_where_nobody_answers_is_one_sentence(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    sentence = f"--scheduler {wrong}: no Dask scheduler answers there; give an address as tcp://host:8786"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"), remote(wrong):
        pass


def test_workers_of_another_version_or_without_the_folder_are_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote(address) as client:
        assert isinstance(client, Client)
        with monkeypatch.context() as patch:
            patch.setattr(cluster, "__version__", "9.9")
            with pytest.raises(InputError, match=r"^worker .* has mamlkit .*; 9\.9 is needed$"):
                check_workers(client, tmp_path)
        with monkeypatch.context() as patch:  # what a worker on another machine would say
            patch.setattr(client, "run", lambda *_, **__: {"tcp://elsewhere": (cluster.__version__, False)})
            with pytest.raises(InputError, match=r"^worker tcp://elsewhere does not see --out .* all workers share$"):
                check_workers(client, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(
                client, "run", lambda *_, **__: {"tcp://elsewhere": ModuleNotFoundError("No module 'mamlkit'")}
            )
            with pytest.raises(
                InputError, match=r"^worker tcp://elsewhere cannot run mamlkit \(No module 'mamlkit'\); "
            ):
                check_workers(client, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(client, "run", lambda *_, **__: {})
            with pytest.raises(InputError, match=r"no workers; start some with: dask worker ADDRESS --nthreads 1 "):
                check_workers(client, tmp_path)
        with monkeypatch.context() as patch:
            [worker] = client.nthreads()
            patch.setattr(client, "nthreads", lambda: {worker: 8})
            with pytest.raises(InputError, match=r"^worker .* has 8 threads; 1 is allowed: dask worker ADDRESS "):
                check_workers(client, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_cluster_that_is_restarted_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    sleeps = notebook("import time\ntime.sleep(60)")
    own = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0)
    with own, Client(own) as client:
        begun = tmp_path / "cells" / "some-seed0"

        def cut() -> None:
            if begun.exists():
                client.restart()

        with pytest.raises(InputError, match=r"^the cluster was restarted or lost; the same command continues"):
            run_cells(client, tmp_path, CELLS[:1], sleeps, on_outcome=lambda _: None, on_tick=cut)
