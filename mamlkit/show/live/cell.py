"""A short training with validation and test, as one run of the stability atlas, in a thread of its own.

Axis letters: ``I`` meta-iterations, ``E`` epochs, ``K`` inner steps, ``L`` layers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mamlkit.core.config import Config
from mamlkit.core.episodes import ImageStore
from mamlkit.show.live.stage import Stage
from mamlkit.training.evaluation import evaluate
from mamlkit.training.history import Iteration, best_epochs
from mamlkit.training.stability import Outcome, outcome
from mamlkit.training.trainer import Trainer, make_sampler


class HaltedError(Exception):
    """The thread was told to end."""


class CellRun(Stage):
    """Train, validate and test one configuration, and measure every meta-iteration.

    A run that is halted within an epoch continues exactly from there.

    Args:
        config: the configuration; a step whose meta-gradient is not finite should be skipped, as in the atlas.
        store: the data.

    Attributes:
        trainer: the training loop; do not use it while ``running``.
        outcome: the outcome of the finished training, or None.
        accuracy: its test accuracy, fraction; NaN before the end.

    Raises:
        InputError: the data do not suffice for the episodes.
    """

    def __init__(self, config: Config, store: ImageStore) -> None:
        super().__init__(config)
        self.store = store
        self.trainer = Trainer.from_config(config, store)
        self.outcome: Outcome | None = None
        self.accuracy = math.nan
        self._iterations: list[Iteration] = []
        self._validation: list[float] = []
        self._best: dict[str, Tensor] = {}
        self._inner = np.zeros((0, 0))

    @property
    def done(self) -> int:
        """The number of finished meta-iterations."""
        return len(self._iterations)

    @property
    def ended(self) -> bool:
        """Whether the run has its outcome."""
        return self.outcome is not None

    def train(self) -> None:
        """Train to the end, or until ``halt``; then test the weights of the epoch that was best in validation.

        Raises:
            InputError: see ``mamlkit.training.trainer.Trainer.iterations``.

        Writes: the learner and the measurements.
        """
        try:
            for record in self.trainer.epochs(on_iteration=self._measure):
                with self.lock:
                    self._validation.append(record.validation.accuracy)
                if best_epochs(self.trainer.history, 1) == [record.epoch]:
                    self._best = {name: tensor.clone() for name, tensor in self.trainer.learner.state().items()}
        except HaltedError:
            return
        self.trainer.learner.load_state(self._best)
        test = evaluate(
            [self.trainer.learner], make_sampler(self.store, self.config, "test"), self.config.test_episodes
        )
        refused = sum(not iteration.finite for iteration in self._iterations)
        self.accuracy = test.accuracy
        self.outcome = outcome(self._validation, self.config.n_way, refused=refused)

    def _measure(self, iteration: Iteration) -> None:
        inner = np.array(self.trainer.largest_inner_grad_norms)  # [K, n_adapted]
        with self.lock:
            self._iterations.append(iteration)
            self._inner = by_layer(inner, self.trainer.learner.problem.adapted)
        if self.halted():
            raise HaltedError

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return copies of all measurements; can be called while the thread is running.

        Returns:
            ``loss``, ``grad_norm`` [I]; ``validation`` [E], fractions; ``inner_norms`` [K, L], largest norms of the
            support gradient in the present epoch.
        """
        with self.lock:
            iterations, validation, inner = tuple(self._iterations), tuple(self._validation), self._inner
        return {
            "loss": np.array([iteration.loss for iteration in iterations], dtype=float),
            "grad_norm": np.array([iteration.grad_norm for iteration in iterations], dtype=float),
            "validation": np.array(validation, dtype=float),
            "inner_norms": inner.copy(),
        }


def by_layer(norms: NDArray[Any], names: tuple[str, ...]) -> NDArray[Any]:
    """Return the larger norm of each layer's tensors: [..., n_adapted] -> [..., L].

    >>> by_layer(np.array([[1.0, 3.0, 2.0]]), ("convs.0.weight", "convs.0.bias", "head.weight"))
    array([[3., 2.]])
    """
    layers = [name.rpartition(".")[0] for name in names]
    columns = [[i for i, layer in enumerate(layers) if layer == own] for own in dict.fromkeys(layers)]
    return np.stack([norms[..., column].max(-1) for column in columns], -1)
