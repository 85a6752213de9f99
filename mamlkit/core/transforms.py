"""Transforms of the inner gradient before the rule's update; ``mamlkit.core.rules.chain`` combines both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mamlkit.core.errors import InputError

Params = dict[str, Tensor]

SQUARE_FLOOR = 1e-16  # added to Adam's second moment under the root, whose derivative is infinite at 0


class Transform:
    """A change of the gradient before the rule's update: ``update`` returns gradients. It has no learned tensors."""

    def init(self, params: Params) -> Any:
        """Return the state before the first step, any pytree of tensors, for the adapted parameters at the start."""
        return ()

    def update(self, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        """Return the gradients, by the names of ``params``, and the state after inner step ``step``, from 0."""
        raise NotImplementedError


@dataclass(frozen=True)
class Momentum(Transform):
    """Add the earlier gradients: ``m_k = decay * m_k-1 + gradient_k``. Source: Polyak 1964; ``torch.optim.SGD``."""

    decay: float = 0.9

    def init(self, params: Params) -> Params:
        """Return zeros in the shapes of the parameters."""
        return {name: torch.zeros_like(value) for name, value in params.items()}

    def update(self, gradients: Params, state: Params, params: Params, step: int) -> tuple[Params, Params]:
        """Return the running sum, as gradients and as state."""
        moved = {name: self.decay * state[name] + gradients[name] for name in params}
        return moved, moved


@dataclass(frozen=True)
class AdamScaling(Transform):
    """Divide the running mean of the gradients by the root of the running mean of their squares, both bias-corrected.

    The square has a floor of 1e-16 under the root, so that the second derivative is finite for a gradient of 0.

    Source: Kingma and Ba 2015, algorithm 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, params: Params) -> tuple[Params, Params]:
        """Return both moments, zeros in the shapes of the parameters."""
        first, second = ({name: torch.zeros_like(value) for name, value in params.items()} for _ in range(2))
        return first, second

    def update(
        self, gradients: Params, state: tuple[Params, Params], params: Params, step: int
    ) -> tuple[Params, tuple[Params, Params]]:
        """Return the scaled gradients, and both moments."""
        first = {name: self.beta1 * state[0][name] + (1 - self.beta1) * gradients[name] for name in params}
        second = {name: self.beta2 * state[1][name] + (1 - self.beta2) * gradients[name] ** 2 for name in params}
        bias1, bias2 = 1 - self.beta1 ** (step + 1), 1 - self.beta2 ** (step + 1)
        roots = {name: (second[name] / bias2 + SQUARE_FLOOR).sqrt() + self.eps for name in params}
        return {name: first[name] / bias1 / roots[name] for name in params}, (first, second)


@dataclass(frozen=True)
class WeightDecay(Transform):
    """Pull the parameters to 0: ``gradient + strength * theta``, as if ``strength / 2 |theta|^2`` were in the loss."""

    strength: float

    def update(self, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        """Return the gradients with the pull added."""
        return {name: gradients[name] + self.strength * value for name, value in params.items()}, state


def check_returned(part: str, kind: str, returned: Any, given: Params) -> None:
    """Raise unless a rule or transform returned tensors with the names and shapes of those that it was given.

    Args:
        part: the rule or transform, at the beginning of the sentence.
        kind: ``"parameters"`` or ``"gradients"``.
        returned: the returned value.
        given: the parameters.

    Raises:
        InputError: see above.
    """
    if not isinstance(returned, dict):
        raise InputError(f"{part} returns {kind} of type {type(returned).__name__}; a dict is needed")
    if returned.keys() != given.keys():
        odd = ", ".join(sorted(returned.keys() ^ given.keys()))
        raise InputError(f"{part} returns other {kind} than it was given: {odd}")
    for name, value in given.items():
        if returned[name].shape != value.shape:
            shapes = f"{list(returned[name].shape)} where {list(value.shape)} is needed"
            raise InputError(f"{part} returns {name} of shape {shapes}")
