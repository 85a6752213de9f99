"""Random numbers that depend only on given integers, such as a run's seed and iteration; dropout uses them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor


def generator_states(device: torch.device) -> list[Tensor]:
    """Return the states of torch's generators of the CPU and of ``device``."""
    states = [torch.random.get_rng_state()]
    return states if device.type in ("cpu", "meta") else [*states, torch.get_device_module(device).get_rng_state()]


def restore_generators(states: list[Tensor], device: torch.device) -> None:
    """Restore the generator states that ``generator_states`` returned."""
    torch.random.set_rng_state(states[0])
    for state in states[1:]:
        torch.get_device_module(device).set_rng_state(state)


@contextlib.contextmanager
def drawn_from(*numbers: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators from ``numbers``; restore their states afterwards."""
    states = generator_states(device)
    seed = int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:6], "little")
    torch.default_generator.manual_seed(seed)
    if len(states) > 1:
        torch.get_device_module(device).manual_seed(seed)
    try:
        yield
    finally:
        restore_generators(states, device)
