"""Random numbers of a run depend on its own numbers, and torch's generator goes on as if nothing had been drawn."""

from __future__ import annotations

import torch

from mamlkit.core.randomness import drawn_from, generator_states, restore_generators

CPU = torch.device("cpu")


def draw(*numbers: int) -> torch.Tensor:
    with drawn_from(*numbers, device=CPU):
        return torch.rand(8)


def test_the_same_numbers_draw_the_same_and_others_draw_others() -> None:
    assert torch.equal(draw(3, 7), draw(3, 7))
    assert not torch.equal(draw(3, 7), draw(7, 3))
    assert not torch.equal(draw(37), draw(3, 7))


def test_torchs_generator_goes_on_as_before() -> None:
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    draw(1)
    assert torch.equal(torch.rand(4), expected)


def test_states_that_are_restored_draw_again() -> None:
    states = generator_states(CPU)
    first = torch.rand(4)
    restore_generators(states, CPU)
    assert torch.equal(torch.rand(4), first)
