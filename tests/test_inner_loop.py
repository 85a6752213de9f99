"""The inner loop of one task: the update by hand, the rows of the per-step tables, the order of the derivative."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import InnerStep, adapt, inner_loop
from mamlkit.core.networks import MLP, Conv4
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace

K = 3
BODY = tuple(f"convs.{i}.{kind}" for i in range(4) for kind in ("weight", "bias"))
HEAD = ("head.weight", "head.bias")
MSL = StepConfig((0.2, 0.3, 0.5))
LAST = StepConfig((0.0, 0.0, 1.0))
TRACK = StepConfig((0.0, 0.0, 1.0), second_order=False, track_query=True)


class Task:
    """A 2-way 1-shot episode, and a small network that starts where every row of every table is different."""

    def __init__(self, *, per_step: bool = True) -> None:
        rng = torch.Generator().manual_seed(0)

        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng, dtype=torch.float64)

        self.model = Conv4(1, 16, 2, filters=3, n_steps=K, per_step_bn=per_step, per_step_stats=per_step).double()
        params = {name: noise(*p.shape) / 3 for name, p in self.model.named_parameters()}
        for i in range(4):
            params[f"norms.{i}.weight"] += 1.0
        self.buffers = {name: noise(*b.shape) ** 2 + 0.1 for name, b in self.model.named_buffers()}
        self.problem = Problem(self.model, rule=SGD(0.1, K))
        self.meta = with_rates(params, 0.1 + noise(10, K) / 20)
        labels = torch.tensor([0, 1])
        self.episode = Episode(noise(2, 1, 16, 16), labels, noise(4, 1, 16, 16), labels.repeat_interleave(2))

    def run(
        self, config: StepConfig, meta: MetaParams | None = None, episode: Episode | None = None
    ) -> tuple[Tensor, InnerTrace]:
        return inner_loop(self.problem, meta or self.meta, self.buffers, episode or self.episode, config)

    def steps(self, config: StepConfig) -> list[InnerStep]:
        return list(adapt(self.problem, self.meta, self.buffers, self.episode, config))

    def require_grad(self) -> list[Tensor]:
        """Let the meta-parameters require gradients, and return them in one list."""
        return [value.requires_grad_() for value in (*self.meta.model.values(), self.meta.inner_lrs)]

    def by_hand(self, config: StepConfig, *, detach: bool = False) -> tuple[Tensor, list[InnerStep]]:
        """Return what a plain loop gives, whose inner gradients are constants or are not."""
        params, total, steps = dict(self.meta.model), torch.zeros((), dtype=torch.float64), []

        def loss(x: Tensor, y: Tensor, k: int) -> Tensor:
            return F.cross_entropy(functional_call(self.model, (params, self.buffers), (x, k))[0], y)

        for k, weight in enumerate(config.loss_weights):
            support = loss(self.episode.support_x, self.episode.support_y, k)
            gradients = torch.autograd.grad(support, [params[name] for name in BODY + HEAD], create_graph=True)
            if detach:
                gradients = tuple(gradient.detach() for gradient in gradients)
            for row, (name, gradient) in enumerate(zip(BODY + HEAD, gradients)):
                params[name] = params[name] - self.meta.inner_lrs[row, k] * gradient
            total = total + weight * loss(self.episode.query_x, self.episode.query_y, k)
            steps.append(InnerStep(dict(params), (), dict(zip(BODY + HEAD, gradients)), support, {}))
        return total, steps


def with_rates(params: dict[str, Tensor], inner_lrs: Tensor) -> MetaParams:
    return MetaParams(params, {"inner_lrs": inner_lrs})


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-11)


def test_each_step_takes_its_rate_times_the_support_gradient_off() -> None:
    task = Task()
    task.require_grad()
    steps, expected = task.steps(LAST), task.by_hand(LAST)[1]
    assert len(steps) == len(expected) == K
    for step, by_hand in zip(steps, expected):
        assert close(step.support_loss, by_hand.support_loss)
        assert list(step.gradients) == list(by_hand.gradients)
        assert all(close(step.gradients[name], by_hand.gradients[name]) for name in step.gradients)
        assert step.params.keys() == by_hand.params.keys()
        assert all(close(step.params[name], by_hand.params[name]) for name in step.params)


@pytest.mark.parametrize("config", [MSL, LAST], ids=["multi-step", "last step"])
def test_first_order_gradient_equals_detached_inner_gradients(config: StepConfig) -> None:
    task = Task()
    leaves = task.require_grad()
    first, second = (task.run(dataclasses.replace(config, second_order=order))[0] for order in (False, True))
    assert torch.equal(first, second)
    found = []
    for loss, expected in ((first, task.by_hand(config, detach=True)[0]), (second, task.by_hand(config)[0])):
        assert close(loss, expected)
        pair = [torch.autograd.grad(x, leaves, allow_unused=True, materialize_grads=True) for x in (loss, expected)]
        assert all(close(ours, theirs) for ours, theirs in zip(*pair))
        found.append(pair[0])
    assert not torch.allclose(found[0][0], found[1][0], rtol=1e-2)


def test_without_gradients_the_numbers_are_the_same_and_no_graph_is_kept() -> None:
    task = Task()
    task.require_grad()
    loss, trace = task.run(MSL)
    with torch.no_grad():
        bare, bare_trace = task.run(MSL)
        last = task.steps(MSL)[-1]
    assert loss.requires_grad
    assert not any(x.requires_grad for x in (bare, *last.gradients.values(), *(last.params[name] for name in HEAD)))
    assert torch.equal(loss, bare)
    assert torch.equal(trace.grad_norm, bare_trace.grad_norm)


def test_a_negative_rate_ascends() -> None:
    task = Task(per_step=False)
    for sign in (1, -1):
        rates = torch.full((10, K), sign * 1e-3, dtype=torch.float64)
        losses = task.run(TRACK, with_rates(task.meta.model, rates))[1].support_loss
        assert bool((sign * losses.diff() < 0).all())


def test_rates_of_zero_make_the_trace_constant() -> None:
    task = Task(per_step=False)
    _, trace = task.run(TRACK, with_rates(task.meta.model, torch.zeros(10, K, dtype=torch.float64)))
    rows = [*trace[:3], trace.grad_norm, *trace.support_stats["norms.3"], *trace.query_stats["norms.3"]]
    assert all(torch.equal(row, row[:1].expand_as(row)) for row in rows)


@pytest.mark.parametrize("k", range(K))
@pytest.mark.parametrize("name", ["norms.1.weight", "norms.2.bias"])
def test_the_support_pass_before_an_update_and_the_query_pass_after_it_use_the_same_row(name: str, k: int) -> None:
    task = Task()
    task.meta.inner_lrs.zero_()
    before = task.run(TRACK)[1]
    task.meta.model[name][k] += 0.5
    after = task.run(TRACK)[1]
    assert (before.support_loss != after.support_loss).tolist() == [step == k for step in range(K)]
    assert (before.query_loss != after.query_loss).tolist() == [step == k for step in range(K)]


@pytest.mark.parametrize("norm", ["batch", "running"])
@pytest.mark.parametrize("k", range(K))
def test_running_statistics_enter_the_query_pass_of_their_step_where_asked(k: int, norm: str) -> None:
    task, config = Task(), dataclasses.replace(TRACK, norm=norm)
    before = task.run(config)[1]
    task.buffers["norms.0.running_mean"][k] += 0.5
    after = task.run(config)[1]
    assert (before.query_loss != after.query_loss).tolist() == [norm == "running" and step == k for step in range(K)]
    assert torch.equal(before.support_loss, after.support_loss)


@pytest.mark.parametrize("k", range(K))
def test_a_rate_changes_its_own_update_and_what_follows(k: int) -> None:
    task = Task()
    before = task.run(TRACK)[1]
    task.meta.inner_lrs[9, k] += 0.1
    after = task.run(TRACK)[1]
    assert (before.query_loss != after.query_loss).tolist() == [step >= k for step in range(K)]
    assert (before.support_loss != after.support_loss).tolist() == [step > k for step in range(K)]


def test_predictions_depend_on_the_other_query_images_only_by_the_batch() -> None:
    task = Task()
    fewer = Episode(*task.episode[:2], task.episode.query_x[:2], task.episode.query_y[:2])
    for norm, same in (("batch", False), ("running", True)):
        config = dataclasses.replace(LAST, norm=norm)
        both = [task.run(config, episode=episode)[1].query_logits[:2] for episode in (task.episode, fewer)]
        assert close(*both) == same


def test_a_query_pass_is_made_only_where_its_loss_counts_or_is_tracked() -> None:
    task = Task()
    tracked_loss, tracked = task.run(TRACK)
    assert torch.equal(tracked_loss, task.run(LAST)[0])
    assert not tracked.query_loss.isnan().any()
    for weights, made in (((0.0, 0.0, 1.0), [False, False, True]), ((0.5, 0.0, 0.5), [True, False, True])):
        _, trace = task.run(StepConfig(weights))
        for field in ("query_loss", "query_metric"):
            assert (~getattr(trace, field).isnan()).tolist() == made
            assert torch.equal(getattr(trace, field)[made], getattr(tracked, field)[made])
        for rows in trace.query_stats["norms.0"]:
            assert (~rows.isnan()).tolist() == [[there] * 3 for there in made]


def test_the_trace_holds_what_happened_and_is_detached() -> None:
    task = Task()
    task.require_grad()
    for config in (MSL, dataclasses.replace(MSL, second_order=False)):
        loss, trace = task.run(config)
        for k, step in enumerate(task.steps(config)):
            logits, stats = functional_call(task.model, (step.params, task.buffers), (task.episode.query_x, k))
            norms = torch.stack([gradient.square().sum().sqrt() for gradient in step.gradients.values()])
            right = [int(row.argmax()) == int(y) for row, y in zip(logits, task.episode.query_y)]
            assert close(trace.support_loss[k], step.support_loss)
            assert close(trace.query_loss[k], F.cross_entropy(logits, task.episode.query_y))
            assert close(trace.grad_norm[k], norms)
            assert trace.query_metric[k].item() == sum(right) / 4
            for found, expected in ((trace.support_stats, step.support_stats), (trace.query_stats, stats)):
                assert found.keys() == expected.keys()
                assert all(close(a[k], b) for name in found for a, b in zip(found[name], expected[name]))
        assert close(trace.query_logits, logits)
        assert close(loss, trace.query_loss @ torch.tensor(config.loss_weights, dtype=torch.float64))
        stats = [*trace.support_stats.values(), *trace.query_stats.values()]
        assert not any(value.requires_grad for value in (*trace[:5], *(x for pair in stats for x in pair)))


@pytest.mark.parametrize(("which", "names"), [("all", BODY + HEAD), ("head", HEAD), ("body", BODY)])
def test_adapt_chooses_the_tensors_that_move(which: str, names: tuple[str, ...]) -> None:
    task = Task()
    task.problem = dataclasses.replace(task.problem, adapt=which)
    assert task.problem.adapted == names
    task.meta = with_rates(task.meta.model, task.meta.inner_lrs[: len(names)])
    last = task.steps(LAST)[-1]
    moved = {name for name, value in last.params.items() if not torch.equal(value, task.meta.model[name])}
    assert {name for name in names if name.endswith("weight")} <= moved <= set(names)
    assert task.run(LAST)[1].grad_norm.shape == (K, len(names))


def test_normalisation_layers_of_any_kind_adapt_only_where_asked() -> None:
    norms = [nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4), nn.LayerNorm(4)]
    norms += [nn.InstanceNorm2d(4, affine=True), nn.RMSNorm(4)]
    model = nn.Sequential(nn.Conv2d(1, 4, 3), *norms, nn.Linear(4, 2))
    assert Problem(model).adapted == ("0.weight", "0.bias", "6.weight", "6.bias")
    assert Problem(model, adapt_norms=True).adapted == tuple(dict(model.named_parameters()))
    for which in ("head", "body"):
        with pytest.raises(
            InputError, match=rf"adapt = '{which}' needs a layer called head and others; the network has 0\.weight, "
        ):
            _ = Problem(model, adapt=which).adapted


def test_a_head_may_stand_inside_another_module() -> None:
    model = nn.ModuleDict({"inner": nn.ModuleDict({"overhead": nn.Linear(4, 3), "head": nn.Linear(3, 2)})})
    assert Problem(model, adapt="head").adapted == ("inner.head.weight", "inner.head.bias")
    assert Problem(model, adapt="body").adapted == ("inner.overhead.weight", "inner.overhead.bias")
    with pytest.raises(InputError, match="adapt = 'body' needs a layer called head and others"):
        _ = Problem(nn.ModuleDict({"head": nn.Linear(3, 2)}), adapt="body").adapted


def test_a_regression_has_losses_and_no_accuracy() -> None:
    model = MLP(1, 1, hidden=(4,)).double()
    problem = Problem(model, F.mse_loss, SGD(0.1, 2))
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    episode = Episode(x, x.sin(), x + 0.1, x.cos())
    loss, trace = inner_loop(problem, *problem.start(), episode, StepConfig((0.5, 0.5)))
    assert close(trace.query_loss[1], F.mse_loss(trace.query_logits, episode.query_y))
    assert close(loss, trace.query_loss.mean())
    assert trace.query_metric.isnan().all()


def test_fewer_steps_than_columns_are_allowed_and_other_sizes_are_refused() -> None:
    task = Task()
    assert torch.equal(task.run(StepConfig((0.5, 0.5)))[1].query_loss, task.run(TRACK)[1].query_loss[:2])
    with pytest.raises(InputError, match="4 inner steps are more than the 3 of the per-step tables; use 1 to 3"):
        task.run(StepConfig((0.0, 0.0, 0.0, 1.0)))
    with pytest.raises(InputError, match=r"inner_lrs has 9 rows; the 10 adapted tensors are convs\.0\.weight, "):
        task.run(LAST, with_rates(task.meta.model, task.meta.inner_lrs[:9]))
    with pytest.raises(InputError, match=r"loss_weights = \(0.0, 0.0\) are all 0; at least one must not be"):
        task.run(StepConfig((0.0, 0.0)))


@pytest.mark.parametrize("change", [{"norms.0.gamma": torch.ones(3)}, {"norms.0.weight": None}])
def test_a_missing_or_unknown_parameter_is_an_error_and_not_the_modules_own(change: dict[str, Tensor | None]) -> None:
    task = Task()
    model = {name: value for name, value in {**task.meta.model, **change}.items() if value is not None}
    task.meta = task.meta._replace(model=model)
    with pytest.raises(RuntimeError, match=r"norms\.0\.(gamma|weight)"):
        task.steps(LAST)
