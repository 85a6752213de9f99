"""Progress: the bar moves with the iterations, and an epoch is told in one line."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import pytest
import tqdm as tqdm_module

from mamlkit.commands import progress
from mamlkit.core.config import Config
from mamlkit.datasets import ImageStore
from mamlkit.training.evaluation import Evaluation
from mamlkit.training.history import EpochRecord, Iteration
from mamlkit.training.trainer import Trainer, make_sampler

CONFIG = Config(
    n_way=2, filters=3, n_steps=1, n_tasks=1, q_query=1, eval_query=1, epochs=2, iterations_per_epoch=3, val_episodes=2
)
RECORD = EpochRecord(
    3,
    (
        Iteration(7, 0.5, 0.75, 1.0, (1.0,), True, 1e-3, True),
        Iteration(8, math.nan, 0, math.inf, (1.0,), True, 1e-3, False),
    ),
    Evaluation(0.8125, 0.0125, 0.4, 10, "batch"),
    12.3,
)


class Bar(tqdm_module.tqdm):
    """A bar that is drawn wherever it is, and remembered."""

    made: ClassVar[list[Bar]] = []

    def __init__(self, *arguments: object, **keywords: object) -> None:
        super().__init__(*arguments, **{**keywords, "disable": False, "leave": False})
        Bar.made.append(self)


@pytest.fixture(autouse=True)
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    Bar.made = []
    monkeypatch.setattr(progress, "tqdm", Bar)
    return Bar.made


def test_the_bar_counts_every_iteration_and_shows_loss_and_accuracy(glyphs: ImageStore, bars: list[Bar]) -> None:
    trainer = Trainer.from_config(CONFIG, glyphs)
    records = list(progress.train(trainer, "maml"))
    assert [record.epoch for record in records] == [1, 2]
    assert (bars[0].n, bars[0].total, bars[0].initial) == (6, 6, 0)
    assert bars[0].postfix.startswith("loss ")
    assert ", accuracy " in bars[0].postfix
    assert "not finite" not in bars[0].postfix


def test_a_resumed_bar_begins_where_the_run_is(glyphs: ImageStore, bars: list[Bar]) -> None:
    trainer = Trainer.from_config(CONFIG, glyphs)
    next(trainer.epochs())
    list(progress.train(trainer, "maml"))
    assert (bars[0].initial, bars[0].n) == (3, 6)


def test_steps_not_taken_are_shown(glyphs: ImageStore, bars: list[Bar]) -> None:
    wild = dataclasses.replace(CONFIG, inner_lr=1e30, n_steps=3, on_nonfinite="skip")
    list(progress.train(Trainer.from_config(wild, glyphs), "maml"))
    assert bars[0].postfix.endswith("6 not finite")


def test_an_epoch_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress.say_epoch(RECORD, 20, title="MAML")
    assert capsys.readouterr().out == (
        "MAML epoch  3/20  loss 0.500  accuracy 75.00%  validation 81.25% ± 1.25%  12 s  1 steps not finite\n"
    )


def test_both_evaluations_share_one_bar(glyphs: ImageStore, bars: list[Bar]) -> None:
    trainer = Trainer.from_config(CONFIG, glyphs)
    found = progress.evaluate_both([trainer.learner], make_sampler(glyphs, CONFIG, "test"), 10)
    assert {norm: evaluation.norm for norm, evaluation in found.items()} == {"batch": "batch", "running": "running"}
    assert (bars[0].n, bars[0].total) == (10, 10)
