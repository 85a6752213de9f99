"""A meta-training to watch: it runs in its own thread, is measured regularly, and its inner rate can be changed.

Axis letters: ``I`` meta-iterations, ``M`` looks, ``C`` changes of the rate, ``K`` inner steps, ``L`` layers, ``N`` way.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mamlkit.core.config import Config
from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.methods import check_rate_table
from mamlkit.show.live.looks import Look, look
from mamlkit.show.live.stage import Stage
from mamlkit.training.history import Iteration
from mamlkit.training.trainer import Trainer, make_sampler


class Passed(NamedTuple):
    """One meta-iteration: its meta-loss (nats), its query accuracy (fraction), and whether its step was taken.

    The step is skipped if the meta-gradient is not finite. If the loss is not finite, the accuracy is NaN too.
    """

    loss: float
    accuracy: float
    taken: bool


class Theatre(Stage):
    """Meta-train and measure, in a thread that can be halted and started again.

    Args:
        config: the configuration; it trains ``epochs`` of ``iterations_per_epoch``, without validation.
            ``on_nonfinite`` says whether a non-finite meta-gradient is skipped or ends the training.
        store: the training tasks come from its train split; the fixed task is the first task of its val split.
        look_every: meta-iterations between two measurements on the fixed task.

    Attributes:
        trainer: the training loop; do not use it while ``running``.
        learner: the learner of ``trainer``.
        task: the fixed task.
        query: index of the classified query drawing, a drawing of the middle class.
        rate: the inner rate in force, see ``set_rate``.
        history: the finished meta-iterations.
        looks: the measurements on the fixed task; the first is from before training.
        changes: (number of meta-iterations before it, rate) for each change of the rate.

    Raises:
        InputError: ``look_every`` is not positive, or the data do not suffice for the episodes.
    """

    def __init__(self, config: Config, store: ImageStore, *, look_every: int = 10) -> None:
        if look_every < 1:
            raise InputError(f"look_every = {look_every} is not positive; 1 or more is allowed")
        super().__init__(config)
        self.look_every = look_every
        val = make_sampler(store, config, "val")
        self.trainer = Trainer.from_config(config, store)  # loads torch._dynamo: not in the thread
        self.learner = self.trainer.learner
        self.task = self.learner.to_device(val.episode(0))
        self.query = len(self.task.query_y) // 2
        self.rate = self._wanted = config.inner_lr
        self.history: list[Passed] = []
        self.looks = [look(self.learner, self.task, self.query, at=0)]
        self.changes: list[tuple[int, float]] = []

    @property
    def done(self) -> int:
        """The number of finished meta-iterations."""
        return len(self.history)

    def set_rate(self, rate: float) -> None:
        """Change the inner rate from the next meta-iteration on; can be called while the thread is running.

        If the rates are not learned, all become ``rate``. Learned rates are all multiplied by ``rate`` over the
        previous rate, so their learned ratios stay.

        Raises:
            InputError: the rate is not positive and finite, or each number has its own.

        Writes: ``rate``, ``changes`` and the learner's ``inner_lrs``, at the start of the next meta-iteration.
        """
        check_rate_table(self.config)
        if not (math.isfinite(rate) and rate > 0):
            raise InputError(f"rate = {rate} is not a positive finite number")
        with self.lock:
            self._wanted = rate

    def advance(self, n: int = 1) -> None:
        """Run ``n`` meta-iterations in this thread, or the remaining ones if there are fewer.

        Raises:
            InputError: a meta-gradient is not finite and ``on_nonfinite`` is ``"stop"``.

        Writes: the learner and the measurements.
        """
        self._train(n, lambda: False)

    def train(self) -> None:
        """Train to the end, or until ``halt``; see ``advance``."""
        self._train(self.total, self.halted)

    def _train(self, n: int, halted: Callable[[], bool]) -> None:
        with contextlib.closing(self.trainer.iterations()) as iterations:
            for _ in range(min(n, self.total - len(self.history))):
                if halted():
                    return
                self._take_rate()
                error = None
                try:
                    next(iterations)
                except InputError as stopped:
                    if self.trainer.done == len(self.history):  # the error came before the iteration
                        raise
                    error = stopped
                self._measure(self.trainer.current[-1])
                if error is not None:
                    raise error

    def _measure(self, last: Iteration) -> None:
        accuracy = last.accuracy if math.isfinite(last.loss) else math.nan
        with self.lock:
            self.history.append(Passed(last.loss, accuracy, last.finite))
        if len(self.history) % self.look_every == 0:
            seen = look(self.learner, self.task, self.query, at=len(self.history))
            with self.lock:
                self.looks.append(seen)

    def _take_rate(self) -> None:
        with self.lock:
            if self._wanted == self.rate:
                return
            rates = self.learner.inner_lrs
            if self.config.learn_inner_lrs:
                rates.mul_(self._wanted / self.rate)
            else:
                rates.fill_(self._wanted)
            self.rate = self._wanted
            self.changes.append((len(self.history), self.rate))

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return copies of all measurements; can be called while the thread is running.

        Returns:
            ``loss``, ``accuracy``, ``taken`` [I]; ``at`` [M], ``norms`` [M, K + 1], ``drift`` [M, L] and
            ``probabilities`` [M, N], see ``Look``; ``changes`` [C, 2].
        """
        with self.lock:
            history, looks, changes = tuple(self.history), tuple(self.looks), tuple(self.changes)
        passed = np.array(history, dtype=np.float64).reshape(-1, len(Passed._fields))
        seen = {name: np.array(column, dtype=np.float64) for name, column in zip(Look._fields, zip(*looks))}
        return {**dict(zip(Passed._fields, passed.T)), **seen, "changes": np.array(changes).reshape(-1, 2)}
