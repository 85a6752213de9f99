"""Compiled code that threads run at once: the numbers of torch's own loader, no lock, no damage accepted."""

from __future__ import annotations

import _ctypes
import ctypes
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import pytest
import torch
from tiny import AS_GOLDEN

from mamlkit.engines import build, compiler, native
from mamlkit.engines.closed_form import Shape

# As golden cases need it: two tasks at once.
SHAPE = Shape(2, 6, AS_GOLDEN.n_way, 1, 28, AS_GOLDEN.filters, True, "float64")
PART = ("gradient", SHAPE)


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


def test_the_code_is_called_without_pythons_lock(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries: list[ctypes.CDLL] = []

    class Library(ctypes.CDLL):
        def __init__(self, path: str) -> None:
            super().__init__(path)
            libraries.append(self)

    monkeypatch.setattr(native.ctypes, "CDLL", Library)
    native.load(package)(build.example(*PART))
    [library] = libraries
    flags: int = library.AOTInductorModelContainerRun._flags_  # type: ignore[attr-defined]
    assert flags & _ctypes.FUNCFLAG_CDECL
    assert not flags & _ctypes.FUNCFLAG_PYTHONAPI  # such a function is called with the lock


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
