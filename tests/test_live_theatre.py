"""The theatre: it trains as the trainer does, in a thread that halts and ends, with a rate that can be moved."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import ROOT
from tiny import same
from waiting import wait_until

from mamlkit import InputError, Trainer, configure
from mamlkit.datasets import ImageStore
from mamlkit.show.live.theatre import Theatre

SIZES: dict[str, Any] = dict(
    n_way=2, eval_query=2, q_query=1, filters=3, n_steps=2, n_tasks=2, dtype="float64", device="cpu", engine="eager"
)
LENGTH: dict[str, Any] = dict(epochs=3, iterations_per_epoch=4, val_episodes=2, on_nonfinite="skip")
Make = Callable[..., Theatre]


@pytest.fixture
def make(glyphs: ImageStore) -> Iterator[Make]:
    """A function that makes a theatre, tiny, with these settings; none trains on after the test."""
    made = []

    def theatre(recipe: str = "maml", look_every: int = 5, **values: Any) -> Theatre:
        config = configure(recipe, **{**SIZES, **LENGTH, **values})
        made.append(Theatre(config, glyphs, look_every=look_every))
        return made[-1]

    yield theatre
    for each in made:
        each.halt()


def state(theatre: Theatre) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in theatre.learner.state().items()}


@pytest.mark.parametrize("recipe", ["maml", "mamlpp"])
def test_it_trains_as_the_trainer_does(make: Make, glyphs: ImageStore, recipe: str) -> None:
    theatre = make(recipe)
    trainer = Trainer.from_config(theatre.config, glyphs)
    iterations = [iteration for record in trainer.epochs() for iteration in record.iterations]
    theatre.advance(5)
    theatre.advance(100)  # as many as are left
    assert theatre.stage == "finished"
    assert [passed.loss for passed in theatre.history] == [iteration.loss for iteration in iterations]
    assert [passed.accuracy for passed in theatre.history] == [iteration.accuracy for iteration in iterations]
    assert same(state(theatre), trainer.learner.state())


def test_it_looks_before_any_training_and_then_every_few_iterations(make: Make) -> None:
    theatre = make(look_every=5)
    assert [seen.at for seen in theatre.looks] == [0]
    theatre.advance(12)
    assert [seen.at for seen in theatre.looks] == [0, 5, 10]
    assert not np.array_equal(theatre.looks[1].norms, theatre.looks[2].norms)


def test_the_fixed_drawing_is_of_the_class_in_the_middle(make: Make) -> None:
    theatre = make(n_way=5)
    assert len(theatre.task.query_y) == 10
    assert theatre.task.query_y[theatre.query] == 2


def test_a_snapshot_has_all_that_was_measured_as_copies(make: Make) -> None:
    theatre = make(look_every=2)
    empty = theatre.snapshot()
    theatre.advance(2)
    theatre.set_rate(0.2)
    theatre.advance(2)
    full = theatre.snapshot()
    shapes = {name: values.shape for name, values in full.items()}
    assert shapes == {"loss": (4,), "accuracy": (4,), "taken": (4,), "at": (3,), "norms": (3, 3), "drift": (3, 4),
                      "probabilities": (3, 2), "changes": (1, 2)}  # fmt: skip
    assert full["loss"].tolist() == [passed.loss for passed in theatre.history]
    assert full["changes"].tolist() == [[2, 0.2]]
    assert {name: values.shape for name, values in empty.items()} == {
        **shapes, "loss": (0,), "accuracy": (0,), "taken": (0,), "at": (1,), "norms": (1, 3), "drift": (1, 4),
        "probabilities": (1, 2), "changes": (0, 2)}  # fmt: skip


def test_where_the_rates_are_not_learned_all_become_the_new_one_at_the_next_iteration(make: Make) -> None:
    theatre = make(inner_lr=0.1)
    theatre.advance(3)
    theatre.set_rate(0.3)
    theatre.set_rate(0.7)  # the last one counts
    assert theatre.rate == 0.1
    assert (theatre.learner.inner_lrs == 0.1).all()
    theatre.advance()
    assert theatre.rate == 0.7
    assert (theatre.learner.inner_lrs == 0.7).all()
    assert theatre.changes == [(3, 0.7)]


def test_a_new_rate_changes_the_training_and_the_old_one_again_does_not(make: Make) -> None:
    moved, back, still = make(), make(), make()
    for theatre in (moved, back, still):
        theatre.advance(2)
    moved.set_rate(0.5)
    back.set_rate(0.5)
    back.set_rate(still.rate)
    for theatre in (moved, back, still):
        theatre.advance(1)
    assert back.history == still.history
    assert back.changes == []
    assert moved.history[:2] == still.history[:2]
    assert moved.history[2] != still.history[2]


def test_learned_rates_are_scaled_so_that_what_they_learned_of_each_other_stays(make: Make) -> None:
    theatre = make("mamlpp", inner_lr=0.1, outer_lr=0.05)
    theatre.advance(6)
    theatre.learner.meta_step = lambda batch, epoch: pytest.fail("only the rates are looked at")
    learned = theatre.learner.inner_lrs.clone()
    assert len(learned.unique()) > 2
    theatre.set_rate(0.2)
    with pytest.raises(pytest.fail.Exception):
        theatre.advance()
    assert torch.allclose(theatre.learner.inner_lrs, 2 * learned, rtol=1e-12)
    theatre.set_rate(0.05)
    with pytest.raises(pytest.fail.Exception):
        theatre.advance()
    assert torch.allclose(theatre.learner.inner_lrs, learned / 2, rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive_and_finite_is_refused(make: Make, rate: float) -> None:
    with pytest.raises(InputError, match="is not a positive finite number"):
        make().set_rate(rate)


def test_a_look_every_0_iterations_is_refused(make: Make) -> None:
    with pytest.raises(InputError, match="look_every = 0 is not positive"):
        make(look_every=0)


def test_a_training_that_was_halted_and_started_again_is_a_straight_one(make: Make) -> None:
    straight, halted = make(), make()
    straight.advance(12)
    assert halted.stage == "ready"
    for goal in (3, 7, 12):
        halted.start()
        assert halted.stage in ("training", "finished")
        wait_until(lambda goal=goal: len(halted.history) >= goal)
        halted.halt()
    assert halted.stage == "finished"
    assert halted.history == straight.history
    assert same(state(halted), state(straight))


def test_nothing_moves_while_it_is_halted_and_no_thread_is_left(make: Make) -> None:
    before = threading.active_count()
    theatre = make(epochs=1000)
    theatre.start()
    theatre.start()  # it is training already
    assert [thread.name for thread in threading.enumerate()].count("training theatre") == 1
    wait_until(lambda: len(theatre.history) > 2)
    theatre.halt()
    assert theatre.stage == "paused"
    assert threading.active_count() == before
    seen, weights = theatre.snapshot(), state(theatre)
    time.sleep(0.2)
    assert all(np.array_equal(values, seen[name]) for name, values in theatre.snapshot().items())
    assert same(state(theatre), weights)
    theatre.halt()  # once more


def test_a_rate_moved_while_the_thread_trains_is_taken(make: Make) -> None:
    theatre = make(epochs=1000)
    theatre.start()
    wait_until(lambda: len(theatre.history) > 1)
    theatre.set_rate(0.6)
    wait_until(lambda: theatre.rate == 0.6)
    done = len(theatre.history)
    wait_until(lambda: len(theatre.history) > done + 1)
    theatre.halt()
    [(at, rate)] = theatre.changes
    assert rate == 0.6
    assert 1 < at <= done
    assert (theatre.learner.inner_lrs == 0.6).all()


def test_snapshots_are_whole_while_the_thread_trains(make: Make) -> None:
    theatre = make(epochs=1000, look_every=1)
    theatre.start()
    seen = []
    for _ in range(15_000):  # about five minutes at most; the thread needs its turns
        seen.append(theatre.snapshot())
        if len(seen[-1]["loss"]) >= 20:
            break
        time.sleep(0.02)
    theatre.halt()
    assert len(seen[-1]["loss"]) >= 20
    for one in seen:
        assert len(one["loss"]) == len(one["accuracy"]) == len(one["taken"])
        assert len(one["at"]) == len(one["norms"]) == len(one["drift"]) == len(one["probabilities"])
        assert one["at"].tolist() == list(range(len(one["at"])))


def test_the_thread_computes_on_one_core_and_leaves_the_others_as_they_were(make: Make) -> None:
    torch.set_num_threads(2)
    theatre = make()
    used = []
    iterate = theatre.learner.meta_step

    def meta_step(*given: Any) -> Any:
        used.append((threading.current_thread(), torch.get_num_threads()))
        return iterate(*given)

    theatre.learner.meta_step = meta_step
    theatre.start()
    wait_until(lambda: theatre.stage == "finished")
    assert {threads for _, threads in used} == {1}
    assert threading.current_thread() not in {thread for thread, _ in used}
    assert torch.get_num_threads() == 2


def test_numbers_that_are_not_finite_are_skipped_and_counted(make: Make) -> None:
    theatre = make(inner_lr=1e300, look_every=1)
    weights = state(theatre)
    theatre.advance(2)
    assert [passed.taken for passed in theatre.history] == [False, False]
    assert not np.isfinite(theatre.snapshot()["loss"]).any()
    assert np.isnan(theatre.snapshot()["accuracy"]).all()
    assert same(state(theatre), weights)
    theatre.set_rate(0.1)
    theatre.advance(2)
    assert [passed.taken for passed in theatre.history] == [False, False, True, True]
    assert np.isfinite(theatre.looks[-1].norms).all()


def test_a_training_that_stops_at_what_is_not_finite_says_so(make: Make) -> None:
    theatre = make(inner_lr=1e300, on_nonfinite="stop")
    theatre.start()
    wait_until(lambda: not theatre.running)
    assert theatre.stage == "failed"
    assert "the meta-gradient of iteration 1 is not finite (meta-loss nan)" in str(theatre.error)
    assert [passed.taken for passed in theatre.history] == [False]
    theatre.start()
    assert theatre.stage == "failed"


def test_an_exception_in_the_thread_is_kept(make: Make) -> None:
    theatre = make()

    def meta_step(*_: Any) -> None:
        raise ValueError("the roof fell in")

    theatre.advance(2)
    theatre.learner.meta_step = meta_step
    theatre.start()
    wait_until(lambda: not theatre.running)
    assert theatre.stage == "failed"
    assert isinstance(theatre.error, ValueError)
    assert theatre.error.__traceback__ is not None
    assert len(theatre.history) == 2


PROGRAM = """
import sys, time
from mamlkit import configure
from mamlkit.datasets import load
from mamlkit.show.live.theatre import Theatre
theatre = Theatre(configure("maml", filters=16, device="cpu", engine="vmap"), load("glyphs"))
assert "torch._dynamo" in sys.modules, "the first iteration would load it"
theatre.start()
while len(theatre.history) < 2:
    time.sleep(0.01)
time.sleep(0.05)
assert theatre.running
"""


def test_an_interpreter_ends_in_the_middle_of_a_training_without_a_word() -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=root, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


MOVED = json.loads((ROOT / "data/results/live/watch.json").read_text("utf-8"))
PAGE = (ROOT / "notebooks/source/live/watch.py").read_text("utf-8")


def measured(recipe: str, rate: float | None, which: str) -> list[dict[str, Any]]:
    """Return what was measured of one kind of training, by seed."""
    rows = {r["seed"]: r[which] for r in MOVED["rows"] if (r["recipe"], r["rate"]) == (recipe, rate)}
    assert sorted(rows) == [0, 1, 2]
    return list(rows.values())


@pytest.mark.parametrize(
    ("name", "recipe", "rate", "which"),
    [
        ("MAML at 0.1, before", "maml", 1.0, "before"),
        ("at 0.01", "maml", 0.01, "last"),
        ("at 1", "maml", 1.0, "last"),
        ("at 4", "maml", 4.0, "last"),
        ("MAML++ from 0.1, before", "mamlpp", 1.0, "before"),
        ("all its rates times 10", "mamlpp", 1.0, "last"),
    ],
)
def test_the_pages_table_of_moved_rates_has_the_measured_numbers(
    name: str, recipe: str, rate: float, which: str
) -> None:
    rows = measured(recipe, rate, which)
    columns = [100 * row["accuracy"] for row in rows], [r["norm"] for r in rows], [np.mean(r["drift"]) for r in rows]
    spans = [f"{two_digits(min(column))} to {two_digits(max(column))}" for column in columns]
    assert f"# | {' | '.join([name, *spans])} |" in PAGE.splitlines()


def two_digits(value: float) -> str:
    digits = np.format_float_positional(value, precision=2, fractional=False, min_digits=2, trim="k")
    return digits.removesuffix(".")


def test_the_page_begins_the_trainings_that_were_measured_and_tells_how_they_end() -> None:
    settings = MOVED["about"]["settings"]
    length = settings["epochs"] * settings["iterations_per_epoch"]
    for line in (f"n_way = {settings['n_way']}", f"filters = {settings['filters']}", 'dataset = "glyphs"'):
        assert line in PAGE.splitlines()
    assert f'"epochs": {settings["epochs"]} if fast' in PAGE
    assert f'"iterations_per_epoch": {settings["iterations_per_epoch"]}' in PAGE
    maml, mamlpp = measured("maml", None, "last"), measured("mamlpp", None, "last")
    assert {r["iterations"] for r in MOVED["rows"] if r["rate"] is None} == {length}
    ends = [[two_digits(100 * f(row["accuracy"] for row in rows)) for f in (min, max)] for rows in (maml, mamlpp)]
    assert ends[0][0] == ends[0][1]
    text = re.sub(r"\s+", " ", PAGE.replace("\n#", ""))
    assert f"had {ends[0][0]} % query accuracy with MAML, and {' to '.join(ends[1])} % with MAML++" in text
    early = [[row["accuracy"] for row in measured(recipe, None, "before")] for recipe in ("maml", "mamlpp")]
    assert all(plain < plus for plain, plus in zip(*early))
    assert "MAML++ was ahead of MAML at meta-iteration 300 in each of the three seeds" in text
