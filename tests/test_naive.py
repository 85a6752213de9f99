"""The textbook loop against the library's own, in double precision."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from mamlkit.core.episodes import Episode
from mamlkit.core.networks import Conv4
from mamlkit.core.outer_loop import meta_gradient as own_meta_gradient
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig
from mamlkit.study.bench.naive import meta_gradient

K, T = 3, 2
MSL, LAST = StepConfig((0.2, 0.3, 0.5)), StepConfig((0.0, 0.0, 1.0))


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Case:
    """Two 2-way 1-shot tasks and a small network with tables of their own for each step."""

    def __init__(self, adapt: str = "all") -> None:
        self.model = Conv4(1, 16, 2, filters=3, n_steps=K, per_step_bn=True, per_step_stats=True).double()
        params = {name: noise(i, *p.shape) / 3 for i, (name, p) in enumerate(self.model.named_parameters())}
        self.buffers = {name: noise(40 + i, *b.shape) ** 2 for i, (name, b) in enumerate(self.model.named_buffers())}
        self.problem = Problem(self.model, rule=SGD(0.1, K), adapt=adapt)
        self.meta = MetaParams(params, {"inner_lrs": 0.1 + noise(60, len(self.problem.adapted), K) / 20})
        labels = torch.tensor([0, 1]).repeat(T, 1)
        self.batch = Episode(noise(70, T, 2, 1, 16, 16), labels, noise(71, T, 2, 1, 16, 16), labels)


@pytest.mark.parametrize("adapt", ["all", "head", "body"])
@pytest.mark.parametrize("norm", ["batch", "running"])
@pytest.mark.parametrize("second_order", [True, False], ids=["second order", "first order"])
@pytest.mark.parametrize("base", [MSL, LAST], ids=["msl", "last"])
def test_it_agrees_with_the_outer_loop(base: StepConfig, second_order: bool, norm: str, adapt: str) -> None:
    case = Case(adapt)
    config = dataclasses.replace(base, second_order=second_order, norm=norm)
    step = meta_gradient(case.problem, case.meta, case.buffers, case.batch, config)
    own = own_meta_gradient(case.problem, case.meta, case.buffers, case.batch, config)
    assert step.loss.item() == pytest.approx(own.loss.item(), abs=1e-12)
    assert step.gradient.model.keys() == own.gradient.model.keys()
    pairs = [(value, own.gradient.model[name]) for name, value in step.gradient.model.items()]
    pairs.append((step.gradient.inner_lrs, own.gradient.inner_lrs))
    assert max((a - b).abs().max().item() for a, b in pairs) < 1e-10
    assert min(step.gradient.inner_lrs.abs().max().item(), step.gradient.model["head.weight"].abs().max().item()) > 1e-3


def test_another_loss_is_taken_where_it_is_given() -> None:
    case = Case()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets.unsqueeze(1)).square().mean()

    problem = dataclasses.replace(case.problem, loss=loss)
    steps = [
        function(problem, case.meta, case.buffers, case.batch, MSL) for function in (meta_gradient, own_meta_gradient)
    ]
    assert steps[0].loss.item() == pytest.approx(steps[1].loss.item(), abs=1e-12)


def test_its_inputs_stay_bit_identical_and_the_buffers_are_handed_on() -> None:
    case = Case()
    inputs = [*case.meta.model.values(), case.meta.inner_lrs, *case.buffers.values(), *case.batch]
    before = [value.clone() for value in inputs]
    step = meta_gradient(case.problem, case.meta, case.buffers, case.batch, MSL)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before))
    assert not any(value.requires_grad or value.grad is not None for value in inputs)
    assert not any(value.requires_grad for value in (step.loss, *step.gradient.model.values()))
    assert step.buffers is case.buffers


def test_one_graph_at_a_time_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is differentiated before the next one begins."""
    case, order, grad = Case(), [], torch.autograd.grad

    def watched_grad(outputs: Tensor, inputs: list[Tensor], **settings: bool) -> tuple[Tensor, ...]:
        order.append("inner" if "create_graph" in settings else "outer")
        return grad(outputs, inputs, **settings)

    monkeypatch.setattr(torch.autograd, "grad", watched_grad)
    meta_gradient(case.problem, case.meta, case.buffers, case.batch, LAST)
    assert order == ["inner"] * K + ["outer"] + ["inner"] * K + ["outer"]
