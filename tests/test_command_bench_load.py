"""What other programs cost: the load is real and ends, and the two ratios are those of the medians."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from tiny import AS_GOLDEN

from mamlkit.__main__ import main
from mamlkit.core.config import Config
from mamlkit.core.system import openmp
from mamlkit.study.bench import load
from mamlkit.study.bench.load import Beside, busy, measure


def loops() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "while True: pass" in " ".join(child.cmdline())]


def test_the_load_is_so_many_processes_and_ends_with_its_context() -> None:
    with busy(2):
        assert len(loops()) == 2
    assert loops() == []


def test_the_load_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), busy(2):
        assert 1 / 0
    assert loops() == []


def test_the_ratios_are_of_the_medians() -> None:
    row = Beside("W1", "vmap", quiet_ms=100.0, torchs_own_ms=80.0, beside_ms=210.0)
    assert (row.ratio, row.cost) == (2.1, 0.25)
    assert row.to_dict()["ratio"] == 2.1


def test_engines_are_timed_quiet_as_torch_waits_and_beside_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, int]] = []
    environments: list[object] = []

    @contextlib.contextmanager
    def worker(engine: str, config: Config, environment: object = None) -> Iterator[Callable[[], None]]:
        environments.append(environment)
        yield lambda: None

    def sample(run: object, on_sample: object) -> float:
        begun.append((len(loops()), len(begun)))
        return float(len(begun)) ** 2

    monkeypatch.setattr(load, "worker", worker)
    monkeypatch.setattr(load, "_sample", sample)
    monkeypatch.setattr(load, "ROUNDS", 2)
    [row] = measure("tiny", [("eager", AS_GOLDEN)], 2, lambda: None)
    assert environments == [None, load.TORCHS_OWN] * 2
    beside = [here == load.cores() for here, _ in begun]
    assert beside == [False] * 4 + [True] * 2 + [False] * 4 + [True] * 2
    assert row == Beside("tiny", "eager", quiet_ms=32.5, torchs_own_ms=36.5, beside_ms=78.5)


def test_torchs_own_waiting_is_a_setting_that_wins_over_ours() -> None:
    assert load.TORCHS_OWN.keys() == openmp.BRIEF.keys()
    assert all(load.TORCHS_OWN[name] != value for name, value in openmp.BRIEF.items())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mamlkit.commands.bench_load.works", lambda: {"tiny": AS_GOLDEN})
    monkeypatch.setattr(load, "works", lambda: {"tiny": AS_GOLDEN})
    monkeypatch.setenv("CXX", "no-such-compiler")


@pytest.mark.long
def test_the_command_prints_the_table_and_writes_the_file(tiny: None, tmp_path: Path) -> None:
    arguments = ["bench", "--beside-load", "--samples", "1", "--out", str(tmp_path / "new")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "new" / "load.json").read_text("utf-8"))
    assert {row["engine"] for row in content["rows"]} == {"eager", "vmap"}
    for row in content["rows"]:
        assert row["ratio"] == pytest.approx(row["beside_ms"] / row["quiet_ms"])
        assert f"{row['ratio']:.2f}" in result.stdout
    assert content["configs"]["tiny"] == AS_GOLDEN.to_dict()
    assert (content["cores"], content["samples"]) == (load.cores(), 3)
    assert content["versions"].keys() >= {"python", "torch", "mamlkit"}


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_timed(tiny: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["bench", "--beside-load", "--out", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "cannot write" in result.output
