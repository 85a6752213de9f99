"""The regression tasks of MAML: sine waves of random amplitude and phase.

Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ICML 2017, section 5.1.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from mamlkit.core.episodes import SPLITS, Episode
from mamlkit.core.errors import InputError, check_choice

AMPLITUDE, PHASE, INPUT = (0.1, 5.0), (0.0, math.pi), (-5.0, 5.0)


class Sinusoids:
    r"""Sample regression tasks: each is a sine wave observed at a few points.

    .. math:: y = A \sin(x - \varphi), \quad A \sim U[0.1, 5],\; \varphi \sim U[0, \pi],\; x \sim U[-5, 5]

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``; the splits share no task.
        k_shot: number of support points, 1 or more.
        q_query: number of query points, 1 or more.
        seed: 0 or more.

    Raises:
        InputError: the split is unknown or a number is out of range.

    An episode depends on ``(seed, split, index)`` alone. Finn et al. 2017, section 5.1.
    """

    def __init__(self, split: str = "train", k_shot: int = 10, q_query: int = 10, seed: int = 0) -> None:
        check_choice("split", split, SPLITS)
        for name, value, low in (("k_shot", k_shot, 1), ("q_query", q_query, 1), ("seed", seed, 0)):
            if value < low:
                raise InputError(f"{name} = {value} is too small; {low} or more is allowed")
        self.split, self.k_shot, self.q_query, self.seed = split, k_shot, q_query, seed

    def wave(self, index: int) -> tuple[float, float]:
        """Return amplitude and phase (in radians) of episode ``index``."""
        rng = self._generator(index)
        return rng.uniform(*AMPLITUDE), rng.uniform(*PHASE)

    def episode(self, index: int) -> Episode:
        """Return episode ``index``, with inputs and targets float32 ``[S, 1]`` and ``[Q, 1]``."""
        rng = self._generator(index)
        amplitude, phase = rng.uniform(*AMPLITUDE), rng.uniform(*PHASE)
        points = rng.uniform(*INPUT, size=(self.k_shot + self.q_query, 1))  # [S + Q, 1]
        x, y = (torch.from_numpy(v).to(torch.float32) for v in (points, amplitude * np.sin(points - phase)))
        return Episode(x[: self.k_shot], y[: self.k_shot], x[self.k_shot :], y[self.k_shot :])

    def batch(self, first_index: int, n_tasks: int) -> Episode:
        """Return episodes ``first_index .. first_index + n_tasks - 1`` as one meta-batch, with leading axis ``[T]``."""
        episodes = [self.episode(first_index + task) for task in range(n_tasks)]
        return Episode(*(torch.stack(field) for field in zip(*episodes, strict=True)))

    def _generator(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), index])
