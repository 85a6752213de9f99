"""A meta-training to watch: it goes on in a thread of its own, is measured on the way, and its inner rate can be moved.

Axis letters: ``I`` meta-iterations, ``M`` looks, ``C`` changes of the rate, ``K`` inner steps, ``L`` layers, ``N`` way.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mamlkit.core.config import Config
from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.methods import check_rate_table
from mamlkit.show.live.looks import Look, look
from mamlkit.training.history import Iteration
from mamlkit.training.trainer import Trainer, make_sampler

BREATH = 0.002  # seconds after each meta-iteration in which another thread gets its turn for certain


class Passed(NamedTuple):
    """One meta-iteration: its meta-loss (nats) and query accuracy (fraction), and whether its step was taken.

    A step is not taken where a number of its meta-gradient is not finite. Of a loss that is not finite there is no
    accuracy either.
    """

    loss: float
    accuracy: float
    taken: bool


class Theatre:
    """Meta-train, in a thread of its own that can be halted and started again, and measure on the way.

    Args:
        config: what is trained and for how long, ``epochs`` of ``iterations_per_epoch``; there is no validation.
            ``on_nonfinite`` says whether a meta-gradient that is not finite is skipped or ends the training.
        store: training tasks are drawn from its train split; the fixed task is the first of its val split.
        look_every: meta-iterations between two looks at the fixed task.

    Attributes:
        learner: what is trained; nobody else may touch it while ``running``.
        task: the fixed task.
        query: which of its query drawings is classified; it is of the class in the middle.
        rate: the inner rate in force, as ``set_rate`` understands it.
        history: the meta-iterations done.
        looks: the first is before any training.
        changes: (meta-iterations done before it, rate) of each change of the rate.
        error: what ended the training, if something went wrong.

    Raises:
        InputError: ``look_every`` is not positive, or the data cannot supply the episodes.
    """

    def __init__(self, config: Config, store: ImageStore, *, look_every: int = 10) -> None:
        if look_every < 1:
            raise InputError(f"look_every = {look_every} is not positive; 1 or more is allowed")
        self.config, self.look_every = config, look_every
        val = make_sampler(store, config, "val")
        self._trainer = Trainer.from_config(config, store)  # loads torch._dynamo: not in the thread
        self.learner = self._trainer.learner
        self.task = self.learner.to_device(val.episode(0))
        self.query = len(self.task.query_y) // 2
        self.rate = self._wanted = config.inner_lr
        self.error: Exception | None = None
        self.history: list[Passed] = []
        self.looks = [look(self.learner, self.task, self.query, at=0)]
        self.changes: list[tuple[int, float]] = []
        self._lock = threading.Lock()  # of the three lists and the wanted rate
        self._halting = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def total(self) -> int:
        """Meta-iterations of the whole training."""
        return self.config.epochs * self.config.iterations_per_epoch

    @property
    def running(self) -> bool:
        """Whether the thread is at work."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stage(self) -> str:
        """``"ready"`` (never started), ``"training"``, ``"paused"``, ``"finished"`` or ``"failed"``."""
        if self.running:
            return "training"
        if self.error is not None:
            return "failed"
        if len(self.history) >= self.total:
            return "finished"
        return "ready" if self._thread is None else "paused"

    def set_rate(self, rate: float) -> None:
        """Move the inner rate, from the next meta-iteration on; may be called while the thread is at work.

        Where the rates are not learned, all become ``rate``. Learned ones are all scaled, by ``rate`` over the rate
        so far: what they have learned of each other stays.

        Raises:
            InputError: the rate is not positive and finite, or each number has its own.

        Writes: ``rate``, ``changes`` and the learner's ``inner_lrs``, as the next meta-iteration begins.
        """
        check_rate_table(self.config)
        if not (math.isfinite(rate) and rate > 0):
            raise InputError(f"rate = {rate} is not a positive finite number")
        with self._lock:
            self._wanted = rate

    def advance(self, n: int = 1) -> None:
        """Take ``n`` meta-iterations here and now, or as many as are left.

        Raises:
            InputError: a meta-gradient is not finite and ``on_nonfinite`` is ``"stop"``.

        Writes: the learner, and what was measured.
        """
        self._train(n, lambda: False)

    def _train(self, n: int, halted: Callable[[], bool]) -> None:
        with contextlib.closing(self._trainer.iterations()) as iterations:
            for _ in range(min(n, self.total - len(self.history))):
                if halted():
                    return
                self._take_rate()
                error = None
                try:
                    next(iterations)
                except InputError as stopped:
                    if self._trainer.done == len(self.history):  # before the iteration, as by the data
                        raise
                    error = stopped
                self._measure(self._trainer.current[-1])
                if error is not None:
                    raise error

    def _measure(self, last: Iteration) -> None:
        accuracy = last.accuracy if math.isfinite(last.loss) else math.nan
        with self._lock:
            self.history.append(Passed(last.loss, accuracy, last.finite))
        if len(self.history) % self.look_every == 0:
            seen = look(self.learner, self.task, self.query, at=len(self.history))
            with self._lock:
                self.looks.append(seen)

    def _take_rate(self) -> None:
        with self._lock:
            if self._wanted == self.rate:
                return
            rates = self.learner.inner_lrs
            if self.config.learn_inner_lrs:
                rates.mul_(self._wanted / self.rate)
            else:
                rates.fill_(self._wanted)
            self.rate = self._wanted
            self.changes.append((len(self.history), self.rate))

    def run(self) -> None:
        """Train to the end of the training or until ``halt``; what goes wrong is kept as ``error``.

        Writes: the learner, what was measured, ``error``, and torch's number of threads in this thread.
        """
        torch.set_num_threads(1)
        try:
            self._train(self.total, self._breathe)
        except Exception as error:  # noqa: BLE001 - whoever watches says it
            self.error = error

    def _breathe(self) -> bool:
        time.sleep(BREATH)
        return self._halting.is_set()

    def start(self) -> None:
        """Train on in a thread. Where there is nothing left to train, or something went wrong, nothing happens.

        Writes: as ``run``.
        """
        if self.stage not in ("ready", "paused"):
            return
        self._halting.clear()
        self._thread = threading.Thread(target=self.run, name="training theatre", daemon=True)
        self._thread.start()
        atexit.register(self.halt)  # a thread inside torch must not outlive the interpreter

    def halt(self) -> None:
        """End the thread, and wait for it: for one meta-iteration and one look at most.

        Writes: nothing more of what ``run`` does.
        """
        self._halting.set()
        if self._thread is not None:
            self._thread.join()
        atexit.unregister(self.halt)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return copies of what was measured; may be called while the thread is at work.

        Returns:
            ``loss``, ``accuracy``, ``taken`` [I]; ``at`` [M], ``norms`` [M, K + 1], ``drift`` [M, L] and
            ``probabilities`` [M, N], see ``Look``; ``changes`` [C, 2].

        Pure: nothing is changed.
        """
        with self._lock:
            history, looks, changes = tuple(self.history), tuple(self.looks), tuple(self.changes)
        passed = np.array(history, dtype=np.float64).reshape(-1, len(Passed._fields))
        seen = {name: np.array(column, dtype=np.float64) for name, column in zip(Look._fields, zip(*looks))}
        return {**dict(zip(Passed._fields, passed.T)), **seen, "changes": np.array(changes).reshape(-1, 2)}
