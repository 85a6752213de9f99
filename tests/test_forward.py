"""How a network is called: with the inner step where it takes one, and with a twice differentiable attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mamlkit import InputError
from mamlkit.core import forward as calls
from mamlkit.core.networks import MLP
from mamlkit.core.problem import Problem


class Scaled(nn.Module):
    """It knows the inner step."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor, step: int, norm: str = "batch") -> tuple[Tensor, dict[str, Tensor]]:
        return self.scale * x + step, {"norm": torch.tensor(norm == "running")}


class Lone(nn.Module):
    def forward(self, x: Tensor, step: int, norm: str) -> Tensor:
        return x + step


def test_a_network_that_takes_the_step_gets_step_and_norm_and_others_the_inputs_alone() -> None:
    x, scale = torch.ones(3), {"scale": torch.tensor(5.0)}
    outputs, stats = calls.call_network(Scaled(), scale, x, 4, "running")
    assert outputs.tolist() == [9.0] * 3
    assert stats["norm"]
    network = nn.Linear(3, 1)
    outputs, stats = calls.call_network(network, dict(network.named_parameters()), x, 4, "running")
    assert torch.equal(outputs, network(x))
    assert stats == {}


def test_a_tensor_that_the_network_does_not_have_is_refused() -> None:
    with pytest.raises(RuntimeError, match="scales"):
        calls.call_network(Scaled(), {"scales": torch.tensor(5.0)}, torch.ones(3), 0, "batch")


def test_the_fused_attention_is_back_after_the_call() -> None:
    attention = nn.MultiheadAttention(4, 2, batch_first=True)

    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.backends.cuda.flash_sdp_enabled(), torch.backends.mha.get_fastpath_enabled()))
            return attention(x, x, x)[0]

    seen: list[tuple[bool, bool]] = []
    calls.call_network(Own(), {}, torch.ones(1, 2, 4), 0, "batch")
    assert seen == [(False, False)]
    assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_copy_of_the_modules_shares_the_tensors() -> None:
    network = MLP(3, 2, hidden=(4,))
    copy = calls.own_modules(network)
    assert copy.head is not network.head
    assert [id(p) for p in copy.parameters()] == [id(p) for p in network.parameters()]


def test_a_network_that_takes_the_step_must_return_statistics() -> None:
    with pytest.raises(InputError, match=r"^the network Lone takes the step, so it must return a pair"):
        calls.check(Lone(), {}, torch.ones(2))


class Swapped(Scaled):
    """It takes step and norm in another order than mamlkit's own networks, and by name alone."""

    def forward(self, x: Tensor, *, norm: str, step: int) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        return super().forward(x, step, norm)


def test_step_and_norm_are_given_by_name() -> None:
    outputs, stats = calls.call_network(Swapped(), {"scale": torch.tensor(5.0)}, torch.ones(3), 4, "running")
    assert outputs.tolist() == [9.0] * 3
    assert stats["norm"]


class Keeping(nn.Linear):
    """It keeps its last outputs to look at, as some networks keep their attention."""

    last: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.last = super().forward(x)
        return self.last


def test_a_network_that_keeps_its_last_outputs_is_copied() -> None:
    network = Keeping(3, 2)
    network(torch.ones(1, 3))  # with a graph, so that torch refuses to copy the outputs
    assert calls.own_modules(network).last is network.last


class Failing(nn.Linear):
    error: Exception

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    "error", [KeyError("mask"), AssertionError("mask"), AttributeError("mask"), IndexError("mask")]
)
def test_whatever_a_network_raises_is_one_sentence(error: Exception) -> None:
    network = Failing(3, 2)
    network.error = error
    sentence = rf"^the network Failing cannot take inputs of shape \[1, 3\]: {type(error).__name__}: '?mask'?$"
    with pytest.raises(InputError, match=sentence):
        calls.check(network, dict(network.named_parameters()), torch.ones(1, 3))


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (nn.LazyLinear(2), "parameter 'weight' of the network LazyLinear has no size yet; give its size and values"),
        (
            nn.Linear(3, 2, dtype=torch.complex64),
            "parameter 'weight' of the network Linear is complex64; only real numbers",
        ),
        (3, "the network 3 is not a torch.nn.Module; one is needed"),
    ],
    ids=["lazy", "complex", "number"],
)
def test_parameters_must_be_real_numbers_that_are_there(network: nn.Module, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}"):
        Problem(network)
