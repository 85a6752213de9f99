"""TensorBoard files: written by torch, read back by TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mamlkit.commands import events
from mamlkit.commands.events import event_log
from mamlkit.core.errors import InputError
from mamlkit.training.evaluation import Evaluation
from mamlkit.training.history import EpochRecord, Iteration

RECORD = EpochRecord(
    1,
    tuple(Iteration(i, 1.0 / i, 0.5, 2.0 * i, (3.0, 4.0 * i), True, 1e-3, True) for i in (1, 2)),
    Evaluation(0.75, 0.05, 0.6, 10, "batch"),
    1.0,
)


def test_every_scalar_comes_back_at_its_iteration(tmp_path: Path) -> None:
    with event_log(tmp_path) as log:
        log(RECORD)
    read = EventAccumulator(str(tmp_path))
    read.Reload()

    def scalars(tag: str) -> list[tuple[int, float]]:
        return [(event.step, event.value) for event in read.Scalars(tag)]

    assert scalars("train/loss") == [(1, 1.0), (2, 0.5)]
    assert scalars("train/grad_norm") == [(1, 2.0), (2, 4.0)]
    assert scalars("inner_grad_norm/step_1") == [(1, 4.0), (2, 8.0)]
    assert scalars("validation/accuracy") == [(2, 0.75)]
    assert scalars("train/outer_lr")[0][1] == pytest.approx(1e-3)


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with event_log(None) as log:
        log(RECORD)
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_one_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "tensorboard", None)
    with pytest.raises(InputError, match=r'pip install "mamlkit\[tensorboard\]"'), event_log(tmp_path / "events"):
        pass
    assert list(tmp_path.iterdir()) == []
