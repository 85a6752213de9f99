"""The rules of the inner loop: each step by hand or by torch's optimizers, and the derivative through them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from test_outer_loop import flat, unflatten
from torch import Tensor, nn

from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import MetaStep, meta_gradient, run_tasks
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import (
    SGD,
    AdamScaling,
    Chain,
    MetaSGD,
    Momentum,
    Params,
    Rule,
    Tensors,
    Transform,
    WeightDecay,
    chain,
    is_shipped,
    rule_of,
    start,
)
from mamlkit.core.schedules import StepConfig

K, T = 3, 3
H = 1e-6  # of a central difference
MSL = StepConfig((0.2, 0.3, 0.5))
START = {"w": [[1.0, -2.0], [0.5, 4.0]], "b": [3.0, -1.0]}
RULES: dict[str, Rule] = {
    "sgd": SGD(0.3, K),
    "lslr": SGD(0.3, K, learn=True),
    "meta-sgd": MetaSGD(0.3),
    "momentum": chain(Momentum(0.8), SGD(0.2, K, learn=True)),
    "adam with learned rates": chain(AdamScaling(0.8, 0.95), SGD(0.03, K, learn=True)),
    "weight decay before lslr": chain(WeightDecay(0.3), SGD(0.3, K, learn=True)),
    "all at once": chain(WeightDecay(0.3), Momentum(0.5), AdamScaling(0.8, 0.95), MetaSGD(0.03)),
}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def params() -> Params:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in START.items()}


def gradients(step: int) -> Params:
    """Return gradients of a made-up loss at inner step ``step``."""
    return {name: (step + 1) * value.sin() - 0.1 for name, value in params().items()}


def moves(rule: Rule, tensors: Tensors | None = None, steps: int = K) -> list[Params]:
    """Return the parameters after each of some steps along ``gradients``."""
    moved, found = params(), []
    tensors, state = rule.tensors(moved) if tensors is None else tensors, rule.init(moved)
    for k in range(steps):
        moved, state = rule.update(tensors, gradients(k), state, moved, k)
        found.append(moved)
    return found


def assert_as(found: list[Params], optimizer: type[torch.optim.Optimizer], **settings: float) -> None:
    """Check that steps are those of an optimizer of torch."""
    own = {name: nn.Parameter(value) for name, value in params().items()}
    stepping = optimizer(own.values(), **settings)  # type: ignore[call-arg]
    for k, after in enumerate(found):
        for name, gradient in gradients(k).items():
            own[name].grad = gradient
        stepping.step()
        assert after.keys() == own.keys()
        for name, value in own.items():
            torch.testing.assert_close(after[name], value.detach(), rtol=1e-12, atol=1e-12)


def test_sgd_has_a_rate_for_each_tensor_and_step() -> None:
    table = torch.tensor([[0.1, 0.2, 0.3], [1.0, -2.0, 0.0]], dtype=torch.float64)
    expected = params()
    for k, found in enumerate(moves(SGD(0.1, K), {"inner_lrs": table})):
        rates = dict(zip(("w", "b"), table[:, k]))
        expected = {name: value - rates[name] * gradients(k)[name] for name, value in expected.items()}
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_sgds_table_starts_at_its_rate_and_is_learned_where_asked() -> None:
    assert SGD(0.3, 4).tensors(params())["inner_lrs"].tolist() == [[0.3] * 4] * 2
    assert SGD(0.3, 4).learned == ()
    assert SGD(0.3, 4, learn=True).learned == ("inner_lrs",)


def test_meta_sgd_has_a_rate_for_each_number_at_all_steps() -> None:
    rule = MetaSGD(0.2)
    rates = rule.tensors(params())["inner_lrs"]
    assert {name: rate.tolist() for name, rate in rates.items()} == {"w": [[0.2, 0.2]] * 2, "b": [0.2, 0.2]}
    rates["w"][0, 1], rates["b"][0] = -1.0, 3.0
    expected = params()
    for k, found in enumerate(moves(rule, {"inner_lrs": rates})):
        expected = {name: value - rates[name] * gradients(k)[name] for name, value in expected.items()}
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert rule.learned == ("inner_lrs",)


def test_plain_sgd_is_torchs() -> None:
    assert_as(moves(SGD(0.1, K)), torch.optim.SGD, lr=0.1)


def test_momentum_is_torchs() -> None:
    assert_as(moves(chain(Momentum(0.8), SGD(0.1, K))), torch.optim.SGD, lr=0.1, momentum=0.8)


def test_adam_is_torchs() -> None:
    rule = chain(AdamScaling(0.8, 0.95, 1e-3), SGD(0.1, 9))
    assert_as(moves(rule, steps=9), torch.optim.Adam, lr=0.1, betas=(0.8, 0.95), eps=1e-3)  # type: ignore[arg-type]


def test_weight_decay_is_torchs_and_parts_of_a_chain_work_in_their_order() -> None:
    assert_as(moves(chain(WeightDecay(0.4), SGD(0.1, K))), torch.optim.SGD, lr=0.1, weight_decay=0.4)
    before = moves(chain(WeightDecay(0.4), Momentum(0.8), SGD(0.1, K)))
    assert_as(before, torch.optim.SGD, lr=0.1, weight_decay=0.4, momentum=0.8)
    after = moves(chain(Momentum(0.8), WeightDecay(0.4), SGD(0.1, K)))
    assert torch.equal(after[0]["w"], before[0]["w"])
    assert not torch.allclose(after[1]["w"], before[1]["w"], rtol=1e-3)


def test_adams_second_derivative_is_finite_where_a_gradient_is_zero() -> None:
    rule, start = chain(AdamScaling(), SGD(0.1, 1)), {"w": torch.zeros(2, dtype=torch.float64, requires_grad=True)}
    moved, _ = rule.update(rule.tensors(start), {"w": 0 * start["w"]}, rule.init(start), start, 0)
    [found] = torch.autograd.grad(moved["w"].sum(), start["w"])
    assert found.isfinite().all()


class Tasks:
    """Three small tasks of random pictures, and a smooth network that no rule leaves at a kink."""

    def __init__(self, rule: Rule) -> None:
        rng = torch.Generator().manual_seed(0)

        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng, dtype=torch.float64)

        network = nn.Sequential(nn.Conv2d(1, 3, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(27, 2)).double()
        self.problem = Problem(network, rule=rule)
        params = {name: noise(*value.shape) / 3 for name, value in network.named_parameters()}
        tensors = rule.tensors(params)
        self.meta = MetaParams(params, tensors)
        vector = flat(self.meta)
        n_rates = vector.numel() - sum(value.numel() for value in params.values())
        vector[len(vector) - n_rates :] *= 1 + noise(n_rates) / 5  # each rate another
        self.meta = unflatten(vector, self.meta)
        labels = torch.tensor([0, 1]).repeat(T, 1)
        self.batch = Episode(noise(T, 2, 1, 8, 8), labels, noise(T, 4, 1, 8, 8), labels.repeat_interleave(2, 1))

    def step(self, **how: Any) -> MetaStep:
        return meta_gradient(self.problem, self.meta, {}, self.batch, MSL, **how)

    @torch.no_grad()
    def loss(self, meta: MetaParams) -> float:
        return run_tasks(self.problem, meta, {}, self.batch, MSL)[0].mean().item()


@each_rule
@pytest.mark.parametrize("low_memory", [False, True], ids=["kept", "low"])
@pytest.mark.parametrize("chunk", [1, 2], ids=["eager", "vmap"])
def test_the_meta_gradient_through_a_rule_equals_a_finite_difference(rule: Rule, chunk: int, low_memory: bool) -> None:
    tasks = Tasks(rule)
    gradient, start = flat(tasks.step(tasks_per_chunk=chunk, low_memory=low_memory).gradient), flat(tasks.meta)
    rng = torch.Generator().manual_seed(1)
    n_model = sum(value.numel() for value in tasks.meta.model.values())
    in_model = (torch.arange(len(start)) < n_model).double()
    for mask in (in_model, 1 - in_model):
        direction = torch.randn(start.shape, generator=rng, dtype=torch.float64) * mask
        direction /= direction.norm()
        ahead, behind = (tasks.loss(unflatten(start + h * direction, tasks.meta)) for h in (H, -H))
        slope = (ahead - behind) / (2 * H)
        assert abs(slope) > 1e-4
        assert (gradient @ direction).item() == pytest.approx(slope, rel=1e-6)


@each_rule
def test_chunks_and_memory_change_nothing_and_arguments_stay(rule: Rule) -> None:
    tasks = Tasks(rule)
    before = flat(tasks.meta).clone()
    expected = tasks.step()
    for how in ({"tasks_per_chunk": 2}, {"low_memory": True}, {"tasks_per_chunk": 3, "low_memory": True}):
        found = tasks.step(**how)
        torch.testing.assert_close(flat(found.gradient), flat(expected.gradient), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.trace.query_loss, expected.trace.query_loss, rtol=1e-10, atol=1e-12)
    assert torch.equal(flat(tasks.meta), before)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, SGD(0.1, 5)),
        ({"n_steps": 2, "eval_steps": 7, "inner_lr": 0.4}, SGD(0.4, 7)),
        ({"learn_inner_lrs": True}, SGD(0.1, 5, learn=True)),
        ({"learn_inner_lrs": True, "inner_lr_per": "number"}, MetaSGD(0.1)),
        ({"inner_rule": "momentum"}, chain(Momentum(), SGD(0.1, 5))),
        ({"inner_rule": "adam", "learn_inner_lrs": True}, chain(AdamScaling(), SGD(0.1, 5, learn=True))),
        ({"inner_decay": 0.01}, chain(WeightDecay(0.01), SGD(0.1, 5))),
        ({"inner_decay": 0.01, "inner_rule": "adam"}, chain(WeightDecay(0.01), AdamScaling(), SGD(0.1, 5))),
    ],
)
def test_the_rule_is_the_one_the_configuration_names(changes: dict[str, Any], rule: Rule) -> None:
    assert rule_of(dataclasses.replace(Config(), **changes)) == rule


class Dropping(SGD):
    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        moved, state = super().update(tensors, gradients, state, params, step)
        return {name: value for name, value in moved.items() if name != "0.bias"}, state


class Flattening(SGD):
    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        moved, state = super().update(tensors, gradients, state, params, step)
        return {name: value.flatten() for name, value in moved.items()}, state


@dataclasses.dataclass(frozen=True)
class Forgetting(Transform):
    """Keep the gradients of weights alone."""

    def update(self, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        return {name: value for name, value in gradients.items() if name.endswith("weight")}, state


@dataclasses.dataclass(frozen=True)
class Summing(Transform):
    """Return one number for each gradient, which would be added to every number of a parameter."""

    def update(self, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        return {name: value.sum() for name, value in gradients.items()}, state


class Listing(SGD):
    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Any, Any]:
        return list(params.values()), state


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Dropping(0.1, K), r"^the rule Dropping\(.*\) returns other parameters than it was given: 0\.bias$"),
        (
            Flattening(0.1, K),
            r"^the rule Flattening\(.*\) returns 0\.weight of shape \[27\] where \[3, 1, 3, 3\] is needed$",
        ),
        (
            chain(Forgetting(), SGD(0.1, K)),
            r"^the transform Forgetting\(\) returns other gradients than it was given: 0\.bias, 3\.bias$",
        ),
        (
            chain(Summing(), SGD(0.1, K)),
            r"^the transform Summing\(\) returns 0\.weight of shape \[\] where \[3, 1, 3, 3\] is needed$",
        ),
        (Listing(0.1, K), r"^the rule Listing\(.*\) returns parameters of type list; a dict is needed$"),
    ],
)
def test_a_rule_that_returns_other_tensors_is_refused(rule: Rule, sentence: str, low_memory: bool) -> None:
    with pytest.raises(InputError, match=sentence):
        Tasks(rule).step(low_memory=low_memory)


def test_a_chain_is_transforms_first_and_one_rule_last() -> None:
    assert chain(SGD(0.1, 5)) == SGD(0.1, 5)
    assert chain(Momentum(), SGD(0.1, 5)) == Chain((Momentum(),), SGD(0.1, 5))
    for parts, odd in (
        ((SGD(0.1, 5), Momentum()), r"SGD\(.*\) of chain is not a Transform"),
        ((Momentum(), AdamScaling()), r"AdamScaling\(.*\) of chain is not a Rule"),
        ((SGD(0.1, 5), SGD(0.1, 5)), r"SGD\(.*\) of chain is not a Transform"),
        ((0.1,), "0.1 of chain is not a Rule"),
        ((), "None of chain is not a Rule"),
    ):
        with pytest.raises(InputError, match=f"^{odd}; transforms come first, and one rule last$"):
            chain(*parts)  # type: ignore[arg-type]


def test_rates_of_other_tensors_are_refused() -> None:
    tensors = MetaSGD(0.1).tensors(params())
    MetaSGD(0.1).check(tensors, ["w", "b"], 7)
    with pytest.raises(InputError, match="do not match: only one of them has b"):
        MetaSGD(0.1).check(tensors, ["w"], 7)


@dataclasses.dataclass(frozen=True)
class Counted(Rule):
    """Steps that get shorter, counted by the rule's own state."""

    zero: Any

    def init(self, params: Params) -> Any:
        return self.zero

    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        return {name: value - 0.1 / (state + 1) * gradients[name] for name, value in params.items()}, state + 1


def test_a_counter_in_the_state_counts_in_both_ways_with_memory() -> None:
    tasks = Tasks(Counted(torch.tensor(0)))
    for name, gradient in tasks.step().gradient.model.items():
        torch.testing.assert_close(gradient, tasks.step(low_memory=True).gradient.model[name])
    sentence = r"^the rule Counted\(zero=0\) has 0 in its state; with memory = 'low' only tensors are allowed$"
    with pytest.raises(InputError, match=sentence):
        Tasks(Counted(0)).step(low_memory=True)


@dataclasses.dataclass(frozen=True)
class Holding(Rule):
    """A rule with any tensors."""

    held: Any
    learned: tuple[str, ...] = ()

    def tensors(self, params: Params) -> Tensors:
        return self.held  # type: ignore[no-any-return]


def test_the_tensors_of_a_rule_are_copies_at_the_start() -> None:
    given = params()
    tensors = start(Holding({"anchor": given, "rates": torch.tensor(0.1).expand(3)}), given)
    given["w"] += 1
    assert torch.equal(tensors["anchor"]["w"], params()["w"])  # the outer loop writes into the parameters
    tensors["rates"][0] = 0.2  # the copy has memory for each number
    assert tensors["rates"].tolist() == pytest.approx([0.2, 0.1, 0.1])


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Holding({"a": 0.1}), r"has a = 0\.1; a tensor of real numbers is needed"),
        (Holding({"a": [torch.ones(())]}), r"has a = \[tensor\(1\.\)\]; a tensor of real numbers is needed"),
        (Holding({"a": {"w": torch.tensor(1)}}), r"has a/w = tensor\(1\); a tensor of real numbers is needed"),
        (Holding({"a": torch.ones(1)}, ("b",)), "learns 'b'; its tensors are a"),
        (Holding({"model": torch.ones(1)}), "has a tensor 'model'; this name is taken in checkpoints, choose another"),
        (SGD("x", 2), "has no tensors for this network \\(TypeError: .*\\)"),  # type: ignore[arg-type]
        (SGD, r"is not a Rule; give Problem\(rule=\.\.\.\), such as SGD\(0\.1, n_steps=5\)"),
    ],
)
def test_tensors_that_a_rule_cannot_have_are_refused(rule: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^the rule .* {sentence}$"):
        start(rule, params())


def test_a_rule_is_mamlkits_only_with_all_its_parts() -> None:
    assert all(is_shipped(rule) for rule in RULES.values())
    assert is_shipped(None)
    for rule in (Counted(0), chain(Momentum(), Counted(0)), chain(Summing(), SGD(0.1, K)), Flattening(0.1, K)):
        assert not is_shipped(rule)
