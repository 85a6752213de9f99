"""How the tests are run: by as many workers as the machine carries, and without the long ones unless asked for."""

from __future__ import annotations

import types
from typing import Any

import conftest
import psutil
import pytest


@pytest.mark.parametrize(("cores", "gibibytes", "workers"), [(2, 16, 2), (32, 256, 8), (8, 7, 2), (4, 1, 1)])
def test_workers_have_a_core_and_their_memory_each(
    cores: int, gibibytes: int, workers: int, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.setattr(conftest, "cores", lambda: cores)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=gibibytes * 2**30))
    assert conftest.pytest_xdist_auto_num_workers(pytestconfig) == workers


@pytest.mark.parametrize(("given", "threads"), [(None, "4"), ("3", "3")])
def test_workers_share_the_cores_unless_the_user_says_how_many_threads(
    given: str | None, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "cores", lambda: 8)
    environment = {} if given is None else {"OMP_NUM_THREADS": given}
    monkeypatch.setattr(conftest.os, "environ", environment)
    conftest.pytest_configure(options(tx=["popen", "popen"]))
    assert environment == {"OMP_NUM_THREADS": threads}
    environment.clear()
    conftest.pytest_configure(options(tx=[]))  # one process has all cores, as for a user
    assert environment == {}


@pytest.mark.parametrize("asked", [False, True])
def test_long_tests_run_only_when_asked_for_and_are_counted_otherwise(asked: bool) -> None:
    config, long, short = options(all=asked), item("long"), item("parametrize")
    items = [short, long, short]
    conftest.pytest_collection_modifyitems(config, items)
    assert items == ([short, long, short] if asked else [short, short])
    assert config.told == ([] if asked else [long])
    lines: list[str] = []
    conftest.pytest_terminal_summary(types.SimpleNamespace(write_line=lines.append), config)
    assert lines == ([] if asked else ["1 long test left out; --all runs them too"])


def item(mark: str) -> Any:
    return types.SimpleNamespace(get_closest_marker=lambda name: name == mark)


def options(**given: Any) -> Any:
    """Return what stands for pytest's configuration, and hears which tests are left out."""
    told: list[Any] = []
    hook = types.SimpleNamespace(pytest_deselected=lambda items: told.extend(items))
    getoption = lambda name, default=None: given.get(name, default)  # noqa: E731
    return types.SimpleNamespace(getoption=getoption, hook=hook, stash=pytest.Stash(), told=told)
