"""Compiled code that threads run at once: the numbers of torch's own loader, no lock, no damage accepted."""

from __future__ import annotations

import dataclasses
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import pytest
import torch
from tiny import AS_GOLDEN

from mamlkit import engines
from mamlkit.engines import build, compiler, native

PART = engines.parts(dataclasses.replace(AS_GOLDEN, dtype="float64"), (1, 28, 28))[0]  # as golden cases need it


@pytest.fixture
def package(compiled_cache: Path) -> Path:
    compiler.compile_parts([PART])
    return compiler.package(PART)


def test_the_numbers_are_those_of_torchs_own_loader_on_every_thread_at_once(package: Path) -> None:
    arguments = build.example(*PART)
    before = [tensor.clone() for tensor in arguments]
    expected = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1).run(arguments)
    run = native.load(package)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(run, [arguments] * 12):
            assert all(map(torch.equal, found, expected))
    assert all(map(torch.equal, arguments, before))


def test_python_goes_on_while_the_code_runs(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = threading.Event(), threading.Event()

    class Library:
        """The C functions, the last of which is in no hurry."""

        def __init__(self, path: str) -> None:
            self.library = ctypes_library(path)

        def __getattr__(self, name: str) -> object:
            function = getattr(self.library, name)
            if name != "AOTInductorModelContainerRun":
                return function

            def slow(*arguments: object) -> int:
                inside.set()
                assert outside.wait(600)
                return int(function(*arguments))

            return slow

    ctypes_library = native.ctypes.CDLL
    assert not ctypes_library._func_flags_ & native.ctypes._FUNCFLAG_PYTHONAPI  # such calls would hold the lock
    monkeypatch.setattr(native.ctypes, "CDLL", Library)
    run, arguments = native.load(package), build.example(*PART)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, arguments)
        assert inside.wait(600)
        assert not first.done()
        outside.set()
        assert all(map(torch.equal, first.result(), pool.submit(run, arguments).result()))


def test_a_flipped_bit_or_a_cut_is_not_loaded(package: Path, tmp_path: Path) -> None:
    content = bytearray(package.read_bytes())
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadZipFile):
        native.load(damaged)
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises((BadZipFile, zlib.error)):
        native.load(damaged)
