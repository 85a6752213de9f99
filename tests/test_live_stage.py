"""A training on stage: every change of its stage, whatever it trains."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from waiting import wait_until

from mamlkit.core.config import Config
from mamlkit.show.live.stage import Stage


class Counting(Stage):
    """A training that counts to 3, and raises at ``bad``."""

    done = 0

    def __init__(self, bad: int = -1, gate: int = 100) -> None:
        super().__init__(Config(epochs=1, iterations_per_epoch=3))
        self.bad, self.gate = bad, gate

    def train(self) -> None:
        while self.done < self.total and not self.halted():
            if self.done == self.bad:
                raise ZeroDivisionError("bad")
            self.done += self.done < self.gate

    def snapshot(self) -> dict[str, NDArray[Any]]:
        return {"done": np.array(self.done)}


def test_it_is_ready_then_trains_pauses_and_finishes() -> None:
    stage = Counting(gate=1)
    assert stage.stage == "ready"
    stage.start()
    wait_until(lambda: stage.done == 1)
    assert stage.stage == "training"
    stage.halt()
    assert (stage.stage, stage.ended) == ("paused", False)
    stage.gate = 100
    stage.start()
    wait_until(lambda: not stage.running)
    assert (stage.stage, stage.ended) == ("finished", True)
    stage.start()
    assert not stage.running


def test_an_exception_ends_it_and_start_does_nothing_any_more() -> None:
    stage = Counting(bad=2)
    stage.start()
    wait_until(lambda: not stage.running)
    assert stage.stage == "failed"
    assert isinstance(stage.error, ZeroDivisionError)
    stage.start()
    assert not stage.running
