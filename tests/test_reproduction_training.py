"""A run of a grid without a notebook: trained, tested, continued after an interruption, stopped at its time limit."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mamlkit.core.recipes import configure
from mamlkit.runs.folder import RunFolder
from mamlkit.study.reproduction import training
from mamlkit.study.reproduction.cell import RECORD, is_done, run_cell
from mamlkit.study.reproduction.plan import Cell
from mamlkit.training.trainer import Trainer

TINY = configure(
    "maml", filters=2, n_way=2, k_shot=1, q_query=1, eval_query=1, n_steps=2, n_tasks=1, ensemble=1, device="cpu",
    epochs=2, iterations_per_epoch=2, val_episodes=2, test_episodes=2, engine="vmap",
)  # fmt: skip


def numbers(path: Path) -> dict[str, Any]:
    return json.loads((path / "result.json").read_text("utf-8"))["evaluations"]


def test_a_run_that_was_interrupted_ends_equal_to_a_straight_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.train(tmp_path / "straight", TINY, "maml")
    epochs = Trainer.epochs

    def one_epoch(self: Trainer, **options: Any) -> Any:
        yield next(epochs(self, **options))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "epochs", one_epoch)
        with pytest.raises(KeyboardInterrupt):
            training.train(tmp_path / "stopped", TINY, "maml")
    assert len(RunFolder.open(tmp_path / "stopped").history()) == 1
    training.train(tmp_path / "stopped", TINY, "maml")
    assert numbers(tmp_path / "stopped") == numbers(tmp_path / "straight")
    assert (
        RunFolder.open(tmp_path / "stopped").about["command"].startswith("mamlkit train --dataset glyphs --recipe maml")
    )


def test_a_run_that_reaches_its_time_limit_is_recorded_as_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(0, 10_000, 4))
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: float(next(ticks)))
        training.train(tmp_path, TINY, "maml", limit=10.0)
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert result["stopped"] == "not finished in 10 seconds"
    assert result["evaluations"] == {}


def test_a_cell_without_a_notebook_leaves_its_run_and_its_record(tmp_path: Path) -> None:
    cell = Cell("tiny-seed0", "tiny", 0, {"recipe": "maml"}, TINY.to_dict())
    assert run_cell(tmp_path, cell, "").error == ""
    assert is_done(tmp_path, cell)
    record = json.loads((tmp_path / "cells" / "tiny-seed0" / RECORD).read_text("utf-8"))
    assert record["notebook_sha256"] == ""
    assert record["data_sha256"]


def test_a_cell_that_cannot_be_trained_has_one_sentence(tmp_path: Path) -> None:
    cell = Cell("odd-seed0", "odd", 0, {"recipe": "maml"}, {**TINY.to_dict(), "n_way": 2000})
    outcome = run_cell(tmp_path, cell, "")
    assert "n_way = 2000" in outcome.error
    assert "\n" not in outcome.error
    assert not is_done(tmp_path, cell)
