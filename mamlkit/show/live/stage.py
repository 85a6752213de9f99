"""A training in a thread of its own that can be halted and started again."""

from __future__ import annotations

import abc
import atexit
import threading
import time
from typing import Any

import torch
from numpy.typing import NDArray

from mamlkit.core.config import Config

BREATH = 0.002  # seconds of sleep after each meta-iteration, so that other threads get their turn


class Stage(abc.ABC):
    """A training for an audience; a subclass defines ``done``, ``snapshot`` and ``train``.

    Args:
        config: the configuration of the training.

    Attributes:
        error: the exception that ended the training, or None.
        lock: guards the measurements, which the thread writes and ``snapshot`` reads.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.error: Exception | None = None
        self.lock = threading.Lock()
        self._halting = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def total(self) -> int:
        """The number of meta-iterations of the whole training."""
        return self.config.epochs * self.config.iterations_per_epoch

    @property
    @abc.abstractmethod
    def done(self) -> int:
        """The number of finished meta-iterations."""

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.done >= self.total

    @abc.abstractmethod
    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return copies of all measurements; can be called while the thread is running."""

    @abc.abstractmethod
    def train(self) -> None:
        """Train to the end, or until ``halted`` says to stop."""

    def halted(self) -> bool:
        """Return whether the thread must end now; let other threads run for a moment."""
        time.sleep(BREATH)
        return self._halting.is_set()

    @property
    def running(self) -> bool:
        """Whether the thread is running."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stage(self) -> str:
        """``"ready"`` (never started), ``"training"``, ``"paused"``, ``"finished"`` or ``"failed"``."""
        if self.running:
            return "training"
        if self.error is not None:
            return "failed"
        if self.ended:
            return "finished"
        return "ready" if self._thread is None else "paused"

    def run(self) -> None:
        """Train to the end or until ``halt``; store an exception as ``error``.

        Writes: the learner, the measurements, ``error``, and torch's number of threads in this thread.
        """
        torch.set_num_threads(1)
        try:
            self.train()
        except Exception as error:  # noqa: BLE001 - the page shows the error
            self.error = error

    def start(self) -> None:
        """Continue training in a thread; do nothing if the training has finished or failed.

        Writes: the same as ``run``.
        """
        if self.stage not in ("ready", "paused"):
            return
        self._halting.clear()
        self._thread = threading.Thread(target=self.run, name="training theatre", daemon=True)
        self._thread.start()
        atexit.register(self.halt)  # a thread inside torch must not outlive the interpreter

    def halt(self) -> None:
        """End the thread and wait for it: at most one meta-iteration and one measurement.

        Writes: nothing after it returns.
        """
        self._halting.set()
        if self._thread is not None:
            self._thread.join()
        atexit.unregister(self.halt)
