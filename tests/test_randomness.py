"""Random numbers that depend on given numbers alone, and torch's own generator, which goes on as before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mamlkit.core.randomness import drawn_from, generator_states, restore_generators

CPU = torch.device("cpu")


def draw(*numbers: int) -> Tensor:
    with drawn_from(*numbers, device=CPU):
        return torch.rand(5)


def test_the_same_numbers_give_the_same_draws_whatever_torch_drew_before() -> None:
    first = draw(0, 7)
    torch.rand(3)
    assert torch.equal(draw(0, 7), first)


def test_other_numbers_give_other_draws() -> None:
    draws = [draw(*numbers) for numbers in ((), (0,), (1,), (0, 1), (1, 0), (0, 0), (10,), (1, 0, 0))]
    assert len({tuple(drawn.tolist()) for drawn in draws}) == len(draws)


@pytest.mark.parametrize("fails", [False, True])
def test_torchs_own_generator_goes_on_as_before(fails: bool) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    before = torch.rand(2)
    try:
        with drawn_from(1, device=CPU):
            torch.rand(9)
            if fails:
                raise ValueError("in the middle")
    except ValueError:
        pass
    assert torch.equal(torch.cat([before, torch.rand(2)]), expected)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_restored_generators_draw_the_same_again(device: str) -> None:
    states = generator_states(torch.device(device))
    first = torch.rand(4)
    restore_generators(states, torch.device(device))
    assert torch.equal(torch.rand(4), first)
