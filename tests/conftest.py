"""What several test files share: a cache of their own, the real Omniglot where it is, and a browser."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest
import torch
from browser import guarded_page, launch
from dash_server import kernels_end
from filelock import FileLock
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from mamlkit.datasets import ImageStore, load
from mamlkit.engines.compiler import cxx
from mamlkit.study.bench.load import cores
from mamlkit.study.bench.servers import Dash, Jupyter, dash_server, jupyter_server

Server = TypeVar("Server")

THREADS = torch.get_num_threads()
THREAD_SETTINGS = {
    name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
}
ARCHIVES = ("images_background.zip", "images_evaluation.zip")
BESIDE_THE_REPOSITORY = Path(__file__).parents[2] / "shared" / "data" / "omniglot"

WORKER_BYTES = 3 * 2**30  # of memory, with what its tests start
MOST_WORKERS = 8
LEFT_OUT = pytest.StashKey[int]()  # long tests that this process, or one of its workers, has collected and does not run

# A shell that runs the tests in the background lets them, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the long tests too")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return max(1, min(cores(), psutil.virtual_memory().available // WORKER_BYTES, MOST_WORKERS))


def pytest_configure(config: pytest.Config) -> None:
    """Divide the cores among the workers, which this process starts later; a user's own setting stays."""
    if workers := len(config.getoption("tx", None) or ()):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // workers)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("all"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT] = len(left_out)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over the number from a worker: each collects the same tests."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{count} long test{'s' * (count > 1)} left out; --all runs them too")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own cache."""
    cache = tmp_path / "mamlkit-cache"
    monkeypatch.setenv("MAMLKIT_CACHE", str(cache))
    return cache


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """Each test begins with the threads that this process began with: their number decides how sums round.

    A Dask cluster leaves its own in the environment, ``mamlkit reproduce`` in torch.
    """
    restore_threads()
    yield
    restore_threads()


def restore_threads() -> None:
    torch.set_num_threads(THREADS)
    for name, value in THREAD_SETTINGS.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, the same for all of its workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture
def needs_cxx() -> None:
    """Skip a test that compiles where nothing can compile."""
    if cxx() is None:
        pytest.skip("there is no C++ compiler (g++ or clang++) on this machine")


@pytest.fixture
def has_cxx(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that passes for a C++ compiler where the choice alone is tested."""
    monkeypatch.setenv("CXX", sys.executable)


@pytest.fixture
def compiled_cache(needs_cxx: None, shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one cache whose compiled code all tests with this fixture share: the same part is compiled once."""
    cache = shared_folder / "compiled-cache"
    monkeypatch.setenv("MAMLKIT_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session")
def omniglot_root() -> Path:
    """The folder of the two archives, ``$MAMLKIT_DATA/omniglot``; without them the test is skipped."""
    root = Path(os.environ.get("MAMLKIT_DATA", "")).expanduser() / "omniglot"
    if os.environ.get("MAMLKIT_DATA") and all((root / name).is_file() for name in ARCHIVES):
        return root
    found = f"MAMLKIT_DATA = {os.environ.get('MAMLKIT_DATA', '')!r} does not lead to Omniglot's two archives"
    if os.environ.get("CI") == "true" and BESIDE_THE_REPOSITORY.is_dir():
        pytest.fail(f"{found}, though {BESIDE_THE_REPOSITORY} exists")
    pytest.skip(found)


@pytest.fixture(scope="session")
def omniglot_cache(omniglot_root: Path, shared_folder: Path) -> Path:
    """A cache folder in which the real Omniglot is built once, 28x28, for all workers; for reading only."""
    cache = shared_folder / "omniglot-cache"
    with FileLock(shared_folder / "omniglot-cache.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMLKIT_CACHE", str(cache))
        patch.setenv("MAMLKIT_DATA", str(omniglot_root.parent))
        load("omniglot")
    return cache


@pytest.fixture
def omniglot(omniglot_cache: Path, omniglot_root: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """The real Omniglot, 28x28, opened from the shared cache."""
    monkeypatch.setenv("MAMLKIT_CACHE", str(omniglot_cache))
    monkeypatch.setenv("MAMLKIT_DATA", str(omniglot_root.parent))
    return load("omniglot")


@pytest.fixture
def omniglot_105(omniglot: ImageStore) -> ImageStore:
    """The same in its original size, to be traced."""
    return load("omniglot", image_size=105)


@pytest.fixture(scope="session")
def glyphs() -> ImageStore:
    """The embedded data set."""
    return load("glyphs")


@pytest.fixture
def picture_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a tree of random pictures: ``picture_folder({"cats": 3}, mode="RGB")``."""

    def make(counts: dict[str, int], *, mode: str = "L", suffix: str = ".png") -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / "pictures"
        for label, count in counts.items():
            (root / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(root / label / f"{number}{suffix}")
        return root

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    with sync_playwright() as playwright:
        opened = launch(playwright.chromium)
        yield opened
        opened.close()


@contextlib.contextmanager
def started(server: Callable[[Path], AbstractContextManager[Server]], home: Path) -> Iterator[Server]:
    """Start a server whose kernels have a cache of their own."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MAMLKIT_CACHE", str(home / "cache"))
            running = stack.enter_context(server(home))
        yield running


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A Jupyter server; each test puts its own notebooks into ``jupyter.work``."""
    with started(jupyter_server, tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(autouse=True)
def no_kernel_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test leaves no kernel behind: JupyterLab's goes on when its page is closed; the dashboard's ends with it.

    A kernel that was there before the test is one that the tests of a module share.
    """
    jupyter = request.getfixturevalue("jupyter") if "jupyter" in request.fixturenames else None
    shared = jupyter.kernels() if jupyter else []
    with contextlib.ExitStack() as stack:
        if "dash" in request.fixturenames:
            stack.enter_context(kernels_end(request.getfixturevalue("dash")))
        yield
    if jupyter:
        jupyter.rest(shared)


@pytest.fixture(scope="session")
def dash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dash]:
    """A ``mamlkit dash`` with the live pages."""
    with started(dash_server, tmp_path_factory.mktemp("dash")) as address:
        yield address


@pytest.fixture(scope="module")
def lab_page(browser: Browser, jupyter: Jupyter) -> Iterator[Page]:
    """A page for JupyterLab that the tests of a module share; its kernels end with it."""
    with guarded_page(browser) as opened:
        yield opened
    jupyter.rest()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which an error of its own, or a request to another machine, fails the test."""
    with guarded_page(browser) as opened:
        yield opened


@pytest.fixture
def offline_page(browser: Browser) -> Iterator[Page]:
    """The same without any network, not even this machine's."""
    with guarded_page(browser, offline=True) as opened:
        yield opened
