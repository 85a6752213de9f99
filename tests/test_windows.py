"""What differs on Windows, simulated: files in use stay, no ``fcntl``, no inherited signals, ports that seem free."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import dask
import numpy as np
import psutil
import pytest
import torch
import windows

from mamlkit.__main__ import main
from mamlkit.commands import dash
from mamlkit.core.config import Config
from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.recipes import configure
from mamlkit.core.system import files
from mamlkit.core.system.files import cache_dir, write_whole
from mamlkit.datasets.store import Build, cached
from mamlkit.engines import build, compiler, native
from mamlkit.engines.closed_form import Shape
from mamlkit.runs.folder import RunFolder
from mamlkit.study.bench import worker
from mamlkit.study.reproduction import cluster
from mamlkit.study.reproduction.cluster import Size
from mamlkit.training.trainer import Trainer

TINY = configure(
    "mamlpp",
    **dict(n_way=2, q_query=1, eval_query=1, filters=3, n_steps=2, n_tasks=1, epochs=2, ensemble=1),
    **dict(iterations_per_epoch=1, val_episodes=2, backbone="mlp", per_step_bn=False, per_step_stats=False),
)
SHAPE = Shape(n_tasks=1, n_images=2, n_way=2, channels=1, size=16, filters=2, pool=True, dtype="float64")
PART = ("gradient", SHAPE)

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells which files are in use")


@pytest.fixture
def files_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is open or mapped is neither replaced nor deleted."""
    for name, call in windows.patched().items():
        monkeypatch.setattr(os, name, call)


def images_of(value: int) -> Build:
    images = np.full((3, 8, 8), value, dtype=np.uint8)
    return Build(["a"], [3], {"train": np.array([0])}, (8, 8), images, lambda: "f00d")


def arrays() -> list[Path]:
    return sorted(cache_dir().glob("*.npy"))


@pytest.mark.usefixtures("files_stay")
def test_a_cache_is_built_again_while_its_old_array_is_mapped() -> None:
    stores = [cached("toy", "here", [value], lambda value=value: images_of(value)) for value in (1, 2)]
    assert [int(store.images.max()) for store in stores] == [1, 2]
    assert len(arrays()) == 2  # the old one is in use
    del stores
    store = cached("toy", "here", [3], lambda: images_of(3))
    assert len(arrays()) == 1
    assert store.images.min() == 3


@pytest.mark.usefixtures("files_stay")
def test_a_cache_that_is_built_again_alike_keeps_its_mapped_array() -> None:
    first = cached("toy", "here", [1], lambda: images_of(7))
    again = cached("toy", "here", [2], lambda: images_of(7))
    assert np.array_equal(first.images, again.images)
    assert len(arrays()) == 1


@pytest.mark.usefixtures("files_stay")
def test_a_file_is_replaced_as_soon_as_its_reader_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "file", b"old")
    with open(tmp_path / "file", "rb") as reader:
        monkeypatch.setattr(files.time, "sleep", lambda seconds: reader.close())
        write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.usefixtures("files_stay")
def test_a_reader_that_never_ends_is_one_sentence_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(files.time, "sleep", waits.append)
    write_whole(tmp_path / "file", b"old")
    with open(tmp_path / "file", "rb") as reader:
        with pytest.raises(InputError, match=rf"^cannot write {re.escape(str(tmp_path / 'file'))} \(Permission denied"):
            write_whole(tmp_path / "file", b"new")
        assert reader.read() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []
    assert 0.2 < sum(waits) < 1


def begin(path: Path, store: ImageStore, config: Config = TINY) -> tuple[RunFolder, Trainer]:
    run = RunFolder.create(path, config, store, recipe="mamlpp", command="")
    trainer = Trainer.from_config(config, store)
    run.restore(trainer)
    return run, trainer


@pytest.mark.usefixtures("files_stay")
def test_the_folder_of_a_run_can_be_deleted_when_it_is_trained(tmp_path: Path, glyphs: ImageStore) -> None:
    run, trainer = begin(tmp_path / "run", glyphs)
    for _ in trainer.epochs():
        run.save(trainer)
    shutil.rmtree(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert run.history() == []


@pytest.mark.usefixtures("files_stay")
def test_a_run_that_was_trained_before_does_not_hold_its_folder(tmp_path: Path, glyphs: ImageStore) -> None:
    run, trainer = begin(tmp_path / "run", glyphs)
    for _ in trainer.epochs():
        run.save(trainer)
    opened = RunFolder.open(tmp_path / "run")
    opened.restore(Trainer.from_config(TINY, glyphs))
    shutil.rmtree(opened.path)


END_EARLY = """
import filelock  # first, so that what new versions do at the end of a program comes last; old ones do nothing
import os, tempfile
from pathlib import Path
import windows
for name, call in windows.patched().items():
    setattr(os, name, call)
from mamlkit import Config, Trainer
from mamlkit.datasets import load
from mamlkit.runs.folder import RunFolder
unkept = tempfile.TemporaryDirectory()
store = load("glyphs")
config = Config(n_way=2, filters=3, n_steps=2, backbone="mlp")
folder = RunFolder.create(Path(unkept.name), config, store, recipe="maml", command="")
folder.restore(Trainer.from_config(config, store))
print(unkept.name)
"""


def test_a_temporary_folder_goes_with_the_program_that_did_not_finish_its_run() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", END_EARLY], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(done.stdout.strip()).exists()


IMPORT_ALL = """
import importlib, pkgutil, sys
import mamlkit
names = [module.name for module in pkgutil.walk_packages(mamlkit.__path__, "mamlkit.")]
for again in range(2):  # first to load what they need, then as on Windows
    for name in names:
        importlib.import_module(name)
    if not again:
        for name in [name for name in sys.modules if name.split(".")[0] == "mamlkit"]:
            del sys.modules[name]
        sys.platform = "win32"
        sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["pwd"] = None
print(len(names))
"""


def test_every_module_is_imported_without_the_modules_of_posix() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_peak_memory_is_what_windows_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=3 * 2**20))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    assert worker.peak_mib() == 3.0


class Bound(socket.socket):
    """A socket that may be bound to a port in use."""

    options: ClassVar[list[int]] = []

    def setsockopt(self, level: int, option: int, value: Any) -> None:  # type: ignore[override]
        self.options.append(option)

    def bind(self, address: Any) -> None:
        """Succeed."""


def test_a_port_in_use_is_refused_where_binding_to_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(socket, "socket", Bound)
        with pytest.raises(InputError, match=rf"^--port {port} cannot be used \(a program answers there\); choose"):
            dash.check_port(port)
    dash.check_port(port)


def test_windows_is_asked_for_a_port_that_nobody_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(socket, "socket", Bound)
    monkeypatch.setattr(Bound, "options", [])
    dash.check_port(port)
    assert Bound.options == [-5]


def test_the_compiler_of_windows_is_cl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert compiler.cxx() == "cl"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert compiler.obstacle() == "there is no C++ compiler (cl) on this machine"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The compiler in place of torch's: it writes a package, and whoever loads one keeps it open."""
    monkeypatch.setattr(torch.export, "export", lambda *_: None)
    monkeypatch.setattr(
        build, "aoti_compile_and_package", lambda _, *, package_path, **__: Path(package_path).write_bytes(b"code")
    )
    with contextlib.ExitStack() as stack:

        def load(path: Path) -> native.Run:
            stack.enter_context(open(path, "rb"))
            return lambda flat: list(compiler.call_flat("inner_step", SHAPE, flat))

        monkeypatch.setattr(build, "runner", load)
        yield Path()


@pytest.mark.usefixtures("files_stay", "library")
def test_a_library_is_tried_where_it_need_not_be_deleted_by_who_has_loaded_it(tmp_path: Path) -> None:
    build.build("inner_step", SHAPE, tmp_path / "code.pt2")
    assert (tmp_path / "code.pt2").read_bytes() == b"code"


@pytest.mark.usefixtures("files_stay")
@pytest.mark.usefixtures("has_cxx")
def test_what_the_compiler_leaves_in_use_does_not_stop_the_program(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:

        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
            out = Path(command[-1])
            out.write_bytes(b"code")
            stack.enter_context(open(out.with_name("library"), "wb"))
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr(native, "load", lambda path: list)
        compiler.compile_parts([PART])
        assert compiler.package(PART).read_bytes() == b"code"


def test_a_worker_of_dask_ignores_ctrl_c_though_it_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dask.config.get("distributed.worker.multiprocessing-method") == "spawn"  # the only way on Windows
    monkeypatch.setattr(cluster, "_deaf_to_ctrl_c", contextlib.nullcontext)
    with cluster.local(Size(1, 1)) as client:
        before = client.submit(os.getpid, pure=False).result()
        os.kill(before, signal.SIGINT)
        assert client.submit(os.getpid, pure=False).result(timeout=120) == before


def test_a_console_without_a_character_shows_another(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    main(["--version"], standalone_mode=False)
    print("a \N{RIGHTWARDS ARROW} b \N{PLUS-MINUS SIGN} 1", flush=True)
    assert raw.getvalue().splitlines()[-1] == b"a ? b \xb1 1"
