"""A run of the atlas on stage: it trains, validates and tests as the grid does, in a thread that can be halted."""

from __future__ import annotations

import doctest
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_until

from mamlkit import configure
from mamlkit.core.config import Config
from mamlkit.datasets import ImageStore
from mamlkit.runs.folder import RunFolder
from mamlkit.show.live import cell
from mamlkit.show.live.cell import CellRun
from mamlkit.study.reproduction.training import train
from mamlkit.training.stability import DIVERGED

TINY: dict[str, Any] = dict(
    n_way=2,
    eval_query=2,
    q_query=1,
    filters=3,
    n_steps=2,
    n_tasks=2,
    epochs=2,
    iterations_per_epoch=3,
    val_episodes=2,
    test_episodes=4,
    ensemble=1,
    on_nonfinite="skip",
    device="cpu",
    engine="eager",
    image_size=28,
)


def config(**values: Any) -> Config:
    return configure("maml", **{**TINY, **values})


@pytest.fixture
def made(glyphs: ImageStore) -> Iterator[Any]:
    runs: list[CellRun] = []

    def make(**values: Any) -> CellRun:
        runs.append(CellRun(config(**values), glyphs))
        return runs[-1]

    yield make
    for run in runs:
        run.halt()


def to_the_end(run: CellRun) -> None:
    run.start()
    wait_until(lambda: not run.running)
    assert run.error is None


def test_it_ends_with_the_numbers_of_the_same_run_of_a_grid(made: Any, tmp_path: Path) -> None:
    run = made()
    to_the_end(run)
    assert run.stage == "finished"
    train(tmp_path / "run", run.config, "maml")
    folder = RunFolder.open(tmp_path / "run")
    history = folder.history()
    seen = run.snapshot()
    assert seen["loss"].tolist() == [each.loss for record in history for each in record.iterations]
    assert seen["grad_norm"].tolist() == [each.grad_norm for record in history for each in record.iterations]
    assert seen["validation"].tolist() == [record.validation.accuracy for record in history]
    largest = np.array(history[-1].largest_inner_grad_norms)
    assert seen["inner_norms"].max() == largest.max()
    assert seen["inner_norms"].shape == (2, 5)
    assert (
        run.accuracy
        == json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))["evaluations"]["batch"]["accuracy"]
    )
    assert run.outcome is not None


def test_it_goes_on_where_it_was_halted(made: Any) -> None:
    straight, halted = made(), made()
    to_the_end(straight)
    halted.start()
    wait_until(lambda: halted.done >= 2)
    halted.halt()
    assert halted.outcome is None
    assert math.isnan(halted.accuracy)
    to_the_end(halted)
    assert halted.outcome == straight.outcome
    assert halted.accuracy == straight.accuracy
    for name, values in straight.snapshot().items():
        np.testing.assert_array_equal(halted.snapshot()[name], values)


def test_a_run_whose_steps_are_refused_is_dead(made: Any) -> None:
    run = made(inner_lr=1e30, adapt_norms=True)
    to_the_end(run)
    assert run.outcome is not None
    assert run.outcome.state == DIVERGED
    assert run.outcome.why.startswith("steps refused: ")
    assert not np.isfinite(run.snapshot()["grad_norm"]).all()


def test_the_example_in_the_docstring_is_right() -> None:
    result = doctest.testmod(cell)
    assert (result.attempted, result.failed) == (1, 0)
