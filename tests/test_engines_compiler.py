"""Compiled code: made once, kept under a name that says what it depends on, refused where it is wrong."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from mamlkit.core.errors import InputError
from mamlkit.engines import build, compiler, native
from mamlkit.engines.closed_form import Shape

SHAPE = Shape(n_tasks=1, n_images=2, n_way=2, channels=1, size=16, filters=2, pool=True, dtype="float64")
PARTS = compiler.parts(SHAPE, SHAPE)


def packages(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def test_equal_support_and_query_sets_share_a_function() -> None:
    assert PARTS == [("inner_step", SHAPE), ("back_step", SHAPE)]
    other = dataclasses.replace(SHAPE, n_images=4)
    assert len(compiler.parts(SHAPE, other)) == 3


@pytest.mark.long
@pytest.mark.usefixtures("needs_cxx")
def test_code_is_compiled_once_and_gives_the_numbers_of_its_source(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, int]] = []
    compiler.compile_parts(PARTS, lambda done, parts: heard.append((done, parts)))
    assert heard == [(0, 2), (1, 2), (2, 2)]
    assert len(packages(own_cache)) == 2
    assert compiler.missing(PARTS) == []

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is left to compile")

    monkeypatch.setattr(subprocess, "run", fail)
    compiler.compile_parts(PARTS, lambda done, parts: heard.append((done, parts)))
    assert len(heard) == 3
    functions = compiler.load(SHAPE, SHAPE)
    example = build.example("back_step", SHAPE)
    theta, gamma, beta, p, mean, cov, y, rates, adjoint, slope, *_ = example
    arguments = theta, (gamma, beta), compiler.Patches(p, mean, cov), y
    found, *step = functions.support(*arguments, rates=rates)
    expected = compiler.call_flat("inner_step", SHAPE, example[:8])
    for a, b in zip((*step, *found[:-1], *found.saved), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)
    back = functions.back(*arguments, rates=rates, adjoint=adjoint, slope=slope, saved=found.saved)
    flat = [*example[:10], *found.saved]
    for a, b in zip(back, compiler.call_flat("back_step", SHAPE, flat), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("needs_cxx")
def test_a_part_that_is_needed_twice_at_once_is_compiled_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Path] = []
    other = threading.Event()

    def compile_into(path: Path, part: compiler.Part) -> None:
        begun.append(path)
        if len(begun) > 1:
            other.set()
        other.wait(0.3)  # for another that begins meanwhile
        path.touch()

    monkeypatch.setattr(compiler, "_compile_into", compile_into)
    monkeypatch.setattr(native, "load", Path.stat)  # of a file that is there, as a loader that takes empty ones
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(compiler.compile_parts, [PARTS[:1], PARTS[:1]]))
    assert packages(own_cache) == begun == [compiler.package(PARTS[0])]


def test_a_package_is_named_by_all_that_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {compiler.package(("inner_step", SHAPE)), compiler.package(("back_step", SHAPE))}
    for field, value in {"n_images": 3, "dtype": "float32", "autocast": True, "pool": False}.items():
        names.add(compiler.package(("inner_step", dataclasses.replace(SHAPE, **{field: value}))))
    for facts in ({"source": "other"}, {"torch": "0"}, {"processor": "other"}, {"constants": "other"}):
        with monkeypatch.context() as patch:
            patch.setattr(compiler, "facts", lambda changed=facts: changed)
            names.add(compiler.package(("inner_step", SHAPE)))
    assert len(names) == 10
    assert set(compiler.facts()) == {"torch", "processor", "source", "constants"}


def test_code_that_differs_from_its_source_is_refused() -> None:
    expected = compiler.call_flat("inner_step", SHAPE, build.example("inner_step", SHAPE))
    build.check(list(expected), expected, SHAPE)
    wrong = [tensor.clone() for tensor in expected]
    wrong[0][0] += 1e-6
    with pytest.raises(InputError, match=r"the results of the compiled code are .* away from those of its source"):
        build.check(wrong, expected, SHAPE)
    wrong[0][0] = torch.nan
    with pytest.raises(InputError, match="the results of the compiled code are nan away"):
        build.check(wrong, expected, SHAPE)


def test_without_a_compiler_nothing_is_tried(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiler.cxx() is None
    with pytest.raises(InputError, match=r"there is no C\+\+ compiler \(g\+\+ or clang\+\+\) on this machine"):
        compiler.compile_parts(PARTS)
    assert packages(own_cache) == []


@pytest.fixture
def invented_code(monkeypatch: pytest.MonkeyPatch) -> list[compiler.Part]:
    """A compiler that needs no time, and a loader that takes what it makes; the parts that were compiled."""
    compiled: list[compiler.Part] = []

    def compile_one(part: compiler.Part) -> None:
        compiled.append(part)
        compiler.package(part).write_bytes(b"code")

    def load(path: Path) -> native.Run:
        if not path.is_file() or path.read_bytes() != b"code":
            raise RuntimeError("not a ZIP archive")
        return list

    monkeypatch.setattr(compiler, "_compile", compile_one)
    monkeypatch.setattr(native, "load", load)
    compiler.runner.cache_clear()
    return compiled


@pytest.mark.usefixtures("has_cxx")
def test_a_damaged_package_is_compiled_again(invented_code: list[compiler.Part]) -> None:
    compiler.compile_parts(PARTS)
    compiler.package(PARTS[0]).write_bytes(b"co")
    compiler.runner.cache_clear()  # as in another program
    assert compiler.missing(PARTS) == PARTS[:1]
    compiler.compile_parts(PARTS)
    assert invented_code[2:] == PARTS[:1]
    assert compiler.missing(PARTS) == []


@pytest.mark.parametrize("error", [RuntimeError, OSError, ImportError, ValueError, TypeError, AttributeError])
def test_whatever_the_loader_raises_is_one_sentence(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> None:
        raise error("it is\nso")

    monkeypatch.setattr(native, "load", load)
    compiler.runner.cache_clear()
    with pytest.raises(InputError, match=r"^the compiled code .*code\.pt2 cannot be loaded \(it is so\)$"):
        compiler.runner(Path("code.pt2"))


@pytest.mark.usefixtures("has_cxx")
def test_the_packages_used_last_are_kept(
    invented_code: list[compiler.Part], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "KEPT", 3)
    parts = [("inner_step", dataclasses.replace(SHAPE, n_images=n)) for n in range(1, 6)]
    for age, part in enumerate(reversed(parts[:3])):
        compiler.compile_parts([part])
        os.utime(compiler.package(part), (1e9 - age, 1e9 - age))
    compiler.runner.cache_clear()
    compiler.runner(compiler.package(parts[0]))  # the oldest is used
    compiler.compile_parts(parts[3:])
    assert compiler.missing(parts) == parts[1:3]
    assert len(packages(own_cache)) == 3
