"""A problem of the user's own is tried on one task: a fault in any part is one sentence before the first iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_problem import Drawn, but, convolution, pictures, seeded
from torch import Tensor, nn

from mamlkit.core.errors import InputError
from mamlkit.core.networks import MLP
from mamlkit.core.problem import Problem
from mamlkit.core.rules import SGD, Rule, Tensors
from mamlkit.core.transforms import Params
from mamlkit.engines import trial
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import Trainer


class Bagged(nn.Module):
    """A bag of embeddings, which torch cannot differentiate twice."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(5, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bag(x.flatten(1).abs().clamp(max=4).long()))  # type: ignore[no-any-return]


class Twofold(nn.Module):
    """A network with two outputs, for the default loss, which takes one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x.flatten(1)), x


class Unwritten(Rule):
    """A rule without an update."""


@dataclass(frozen=True)
class Overwriting(Rule):
    """A rule that writes into the parameters, out of autograd's sight."""

    through_data: bool

    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        with torch.no_grad():
            for name, value in params.items():
                (value.data if self.through_data else value).sub_(0.1 * gradients[name])
        return params, state


def detached(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.detach(), targets)


def absent(outputs: Tensor, targets: Tensor) -> Any:
    return {}["absent"]


def seven(outputs: Tensor, targets: Tensor) -> float:
    return 7.0


def mlp() -> nn.Module:
    return seeded(lambda: MLP(64, 2))


def fails(error: str, network: str, *, loss: str = "cross_entropy", metric: str = "accuracy", rule: str = "SGD") -> str:
    parts = f"network {network}, loss {loss}, metric {metric} and rule {rule}"
    return rf"the problem fails on its first task \({error}.*\); its parts are {parts}"


def of(outputs: Tensor, targets: Tensor) -> Any:
    """Return the loss as Python's own number."""
    return F.cross_entropy(outputs, targets).item()


def errors(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) != targets).sum()


@pytest.mark.parametrize("memory", ["normal", "low"])
@pytest.mark.parametrize("engine", ["auto", "vmap", "eager"])
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Problem(nn.Sequential(nn.Flatten(), nn.Linear(64, 1))),
            fails("IndexError: Target 1 is out of bounds", "Sequential"),
        ),
        (lambda: Problem(seeded(Bagged)), fails("NotImplementedError: the derivative for ", "Bagged")),
        (lambda: Problem(seeded(Twofold)), fails(r"TypeError: cross_entropy_loss\(\)", "Twofold")),
        (lambda: Problem(mlp(), absent), fails("KeyError: 'absent'", "MLP", loss="absent")),
        (lambda: Problem(mlp(), metric=absent), fails("KeyError: 'absent'", "MLP", metric="absent")),
        (lambda: Problem(mlp(), rule=Unwritten()), fails("NotImplementedError", "MLP", rule="<.*Unwritten")),
        (lambda: Problem(mlp(), metric=seven), r"the metric seven is 7 on a task; a number in \[0, 1\] or NaN is "),
        (lambda: Problem(mlp(), rule=SGD(0.1, 1)), "2 inner steps are more than the 1 of the per-step tables; use "),
        (lambda: Problem(mlp(), of), "the loss returns a float; a scalar tensor of real numbers is needed$"),
        (
            lambda: Problem(mlp(), detached),
            "the query loss depends on no parameter of the network; loss and network must",
        ),
        (
            lambda: Problem(mlp(), rule=Overwriting(through_data=True)),
            r"network MLP or rule Overwriting\(.*\) writes into tensor \S+; new tensors are needed$",
        ),
        (
            lambda: Problem(mlp(), rule=Overwriting(through_data=False)),
            r"network MLP or rule Overwriting\(.*\) writes into tensor \S+; new tensors are needed$",
        ),
        (lambda: Problem(mlp(), errors), r"the loss returns torch\.int64; a scalar tensor of real numbers is needed$"),
    ],
)
def test_a_part_that_fails_is_named_before_the_first_iteration(
    make: Callable[[], Problem], sentence: str, engine: str, memory: str
) -> None:
    with pytest.raises(InputError, match=f"^{sentence}"):
        Trainer(MetaLearner(make(), but(engine=engine, memory=memory, inner_lr=0.1)), Drawn(pictures), Drawn(pictures))


@pytest.mark.parametrize(
    ("make", "tried"), [(mlp, False), (convolution, True)], ids=["mamlkit's own", "the user's own"]
)
def test_only_parts_of_the_users_own_are_tried_and_nothing_changes(
    make: Callable[[], nn.Module], tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(trial, "check_metric", lambda metric, values: calls.append(metric.__name__))
    learner = MetaLearner(Problem(make()), but(engine="eager"))
    before = {name: tensor.clone() for name, tensor in learner.state().items()}
    learner.choose_engine(Drawn(pictures).batch(0, 2))
    assert calls == ["accuracy"] * tried
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.state().items())
