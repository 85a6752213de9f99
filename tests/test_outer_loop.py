"""The outer loop: the meta-gradient against finite differences and a textbook loop, and the folded statistics."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mamlkit.core.episodes import Episode, EpisodeSampler, ImageStore
from mamlkit.core.inner_loop import inner_loop
from mamlkit.core.networks import BatchStats, Conv4
from mamlkit.core.outer_loop import MetaStep, fold_batch_stats, meta_gradient, run_tasks
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import SGD, Params
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace
from mamlkit.study.bench import naive

K, T = 3, 3
H = 1e-6  # of a central difference
MSL = StepConfig((0.2, 0.3, 0.5))
LAST = StepConfig((0.0, 0.0, 1.0))
FIRST_MSL, FIRST_LAST = (dataclasses.replace(config, second_order=False) for config in (MSL, LAST))
CONFIGS = {"msl": MSL, "last": LAST, "first-order msl": FIRST_MSL, "first-order last": FIRST_LAST}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


class Tasks:
    """Three 2-way 1-shot tasks, and a small network that starts where every row of every table is different."""

    def __init__(self, *, per_step: bool = True, max_pool: bool = True, side: int = 16) -> None:
        rng = torch.Generator().manual_seed(0)

        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng, dtype=torch.float64)

        settings = {"filters": 3, "n_steps": K, "per_step_bn": per_step, "per_step_stats": per_step}
        self.model = Conv4(1, side, 2, max_pool=max_pool, **settings).double()
        params = {name: noise(*p.shape) / 3 for name, p in self.model.named_parameters()}
        for i in range(4):
            params[f"norms.{i}.weight"] += 1.0
        self.buffers = {name: noise(*b.shape) ** 2 for name, b in self.model.named_buffers()}
        self.problem = Problem(self.model, rule=SGD(0.1, K))
        self.meta = MetaParams(params, {"inner_lrs": 0.1 + noise(10, K) / 20})
        labels = torch.tensor([0, 1]).repeat(T, 1)
        images = noise(T, 2, 1, side, side), noise(T, 4, 1, side, side)
        self.batch = Episode(images[0], labels, images[1], labels.repeat_interleave(2, 1))

    def adapting(self, adapt: str) -> Tasks:
        """Return itself, with these tensors alone adapted."""
        self.problem = dataclasses.replace(self.problem, adapt=adapt)
        rates = self.meta.inner_lrs[: len(self.problem.adapted)]
        self.meta = self.meta._replace(rule={"inner_lrs": rates})
        return self

    def step(self, config: StepConfig, *, chunk: int = 1) -> MetaStep:
        return meta_gradient(self.problem, self.meta, self.buffers, self.batch, config, tasks_per_chunk=chunk)

    @torch.no_grad()
    def loss(self, meta: MetaParams, config: StepConfig) -> float:
        return run_tasks(self.problem, meta, self.buffers, self.batch, config)[0].mean().item()


def flat(meta: MetaParams) -> Tensor:
    return torch.cat([value.flatten() for value in pytree.tree_leaves(meta)])


def unflatten(vector: Tensor, like: MetaParams) -> MetaParams:
    leaves, spec = pytree.tree_flatten(like)
    parts = vector.split([value.numel() for value in leaves])
    return pytree.tree_unflatten([part.view_as(value) for part, value in zip(parts, leaves)], spec)  # type: ignore[no-any-return]


def distance(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


@each_config
@pytest.mark.parametrize("max_pool", [True, False], ids=["pooled", "strided"])
def test_the_meta_gradient_equals_a_textbook_loop(config: StepConfig, max_pool: bool) -> None:
    tasks = Tasks(max_pool=max_pool, per_step=max_pool)
    textbook = naive.meta_gradient(tasks.problem, tasks.meta, tasks.buffers, tasks.batch, config)
    step = tasks.step(config, chunk=2)
    assert step.loss.item() == pytest.approx(textbook.loss.item(), abs=1e-12)
    assert step.gradient.model.keys() == textbook.gradient.model.keys()
    assert distance(flat(step.gradient), flat(textbook.gradient)) < 1e-11
    assert flat(textbook.gradient).abs().max() > 0.01


@pytest.mark.parametrize("config", [MSL, LAST], ids=["msl", "last"])
def test_the_meta_gradient_equals_a_finite_difference(config: StepConfig) -> None:
    tasks = Tasks()
    gradient, start = flat(tasks.step(config).gradient), flat(tasks.meta)
    rng = torch.Generator().manual_seed(1)
    n_rates = tasks.meta.inner_lrs.numel()
    in_rates = torch.cat([torch.zeros(len(start) - n_rates), torch.ones(n_rates)]).double()
    for mask in (torch.ones_like(start), in_rates, 1 - in_rates):
        direction = torch.randn(start.shape, generator=rng, dtype=torch.float64) * mask
        direction /= direction.norm()
        ahead, behind = (tasks.loss(unflatten(start + h * direction, tasks.meta), config) for h in (H, -H))
        slope = (ahead - behind) / (2 * H)
        assert (gradient @ direction).item() == pytest.approx(slope, abs=2e-9)


def test_the_first_order_gradient_is_another_one() -> None:
    tasks = Tasks()
    first, second = tasks.step(FIRST_LAST), tasks.step(LAST)
    assert first.loss == second.loss
    for name in ("convs.0.weight", "convs.3.weight"):
        assert distance(first.gradient.model[name], second.gradient.model[name]) > 1e-3


@pytest.mark.parametrize("config", [MSL, FIRST_LAST], ids=["msl", "first-order last"])
@pytest.mark.parametrize("per_step", [True, False], ids=["per step", "shared"])
def test_chunk_sizes_agree(config: StepConfig, per_step: bool) -> None:
    assert_chunks_agree(Tasks(per_step=per_step), config)


@pytest.mark.parametrize("config", [MSL, FIRST_MSL], ids=["second order", "first order"])
def test_chunk_sizes_agree_on_pictures_with_flat_backgrounds(glyphs: ImageStore, config: StepConfig) -> None:
    tasks = Tasks(side=28)
    batch = EpisodeSampler(glyphs, "train", n_way=2, k_shot=1, q_query=2, seed=0).batch(0, T)
    tasks.batch = Episode(*(x.double() if x.is_floating_point() else x for x in batch))
    assert_chunks_agree(tasks, config)


def assert_chunks_agree(tasks: Tasks, config: StepConfig) -> None:
    one = tasks.step(config)
    for chunk in (2, T + 5):
        other = tasks.step(config, chunk=chunk)
        assert distance(one.loss, other.loss) < 1e-10
        assert distance(flat(one.gradient), flat(other.gradient)) < 1e-10
        assert all(distance(one.buffers[name], other.buffers[name]) < 1e-10 for name in one.buffers)
        assert all(torch.allclose(a, b, 0, 1e-10, True) for a, b in zip(one.trace[:5], other.trace[:5]))


def test_the_order_of_tasks_is_irrelevant() -> None:
    tasks = Tasks()
    before = tasks.step(MSL, chunk=2)
    tasks.batch = Episode(*(field[[2, 0, 1]] for field in tasks.batch))
    after = tasks.step(MSL, chunk=2)
    assert distance(before.loss, after.loss) < 1e-13
    assert distance(flat(before.gradient), flat(after.gradient)) < 1e-13
    assert torch.allclose(before.trace.query_loss[[2, 0, 1]], after.trace.query_loss, rtol=0, atol=1e-13)


def test_the_meta_loss_is_a_mean_over_tasks() -> None:
    tasks = Tasks()
    tasks.batch = Episode(*(field[:1].expand(T, *field.shape[1:]) for field in tasks.batch))
    three = tasks.step(MSL)
    tasks.batch = Episode(*(field[:1] for field in tasks.batch))
    one = tasks.step(MSL)
    assert distance(one.loss, three.loss) < 1e-13
    assert distance(flat(one.gradient), flat(three.gradient)) < 1e-13


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_meta_step_leaves_its_inputs_bit_identical(chunk: int) -> None:
    tasks = Tasks()
    own = tasks.model.state_dict()
    inputs = [*tasks.meta.model.values(), tasks.meta.inner_lrs, *tasks.buffers.values(), *tasks.batch, *own.values()]
    before = [value.clone() for value in inputs]
    tasks.step(MSL, chunk=chunk)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before))
    assert not any(value.requires_grad or value.grad is not None for value in inputs)


@pytest.mark.parametrize("chunk", [1, 2])
def test_the_trace_of_each_task_is_that_of_its_inner_loop(chunk: int) -> None:
    tasks = Tasks()
    step = tasks.step(MSL, chunk=chunk)
    losses, trace = run_tasks(tasks.problem, tasks.meta, tasks.buffers, tasks.batch, MSL)
    for t in range(T):
        task = Episode(*(field[t] for field in tasks.batch))
        loss, alone = inner_loop(tasks.problem, tasks.meta, tasks.buffers, task, MSL)
        assert distance(losses[t], loss) < 1e-12
        for found in (step.trace, trace):
            assert all(distance(a[t], b) < 1e-12 for a, b in zip(found[:5], alone[:5]))
            for ours, theirs in zip(found[5:], alone[5:]):
                assert all(distance(a[t], b) < 1e-12 for n in theirs for a, b in zip(ours[n], theirs[n]))
    assert not any(value.requires_grad for value in (step.loss, flat(step.gradient), *step.trace[:5]))


@each_config
def test_all_rows_of_norms_learn_only_under_second_order_or_the_multi_step_loss(config: StepConfig) -> None:
    gradient = Tasks().step(config).gradient
    for i in range(4):
        for kind in ("weight", "bias"):
            rows = gradient.model[f"norms.{i}.{kind}"].abs().amax(1)
            assert (rows > 1e-8).tolist() == [config != FIRST_LAST, config != FIRST_LAST, True]
            assert config != FIRST_LAST or rows[:2].tolist() == [0.0, 0.0]


@each_config
def test_every_inner_rate_learns_but_those_of_the_biases_before_a_norm(config: StepConfig) -> None:
    tasks = Tasks()
    gradient = tasks.step(config).gradient
    for row, name in zip(gradient.inner_lrs.abs(), tasks.problem.adapted):
        idle = name.startswith("convs") and name.endswith("bias")
        assert bool((row < 1e-15).all()) if idle else bool((row > 1e-7).all())
        assert not idle or gradient.model[name].abs().max() < 1e-14


def test_rates_of_steps_that_are_not_made_have_gradient_zero() -> None:
    rates = Tasks().step(StepConfig((0.5, 0.5))).gradient.inner_lrs
    assert rates[:, :2].abs().max() > 0
    assert bool((rates[:, 2] == 0).all())


def test_a_random_layer_draws_anew_for_each_task() -> None:
    problem = Problem(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 2)).double(), rule=SGD(0.0, 1))
    batch = Episode(*(field[:1].expand(T, *field.shape[1:]) for field in Tasks().batch))
    with torch.random.fork_rng(devices=[]):
        assert run_tasks(problem, *problem.start(), batch, StepConfig((1.0,)))[0].unique().numel() == T


def test_a_parameter_that_enters_no_loss_has_gradient_zero() -> None:
    tasks = Tasks()
    tasks.model.spare = nn.Parameter(torch.ones(2, dtype=torch.float64))
    model = {**tasks.meta.model, "spare": tasks.model.spare.detach()}
    tasks.problem = Problem(tasks.model, rule=SGD(0.1, K))
    tasks.meta = MetaParams(model, {"inner_lrs": torch.full((11, K), 0.1, dtype=torch.float64)})
    assert tasks.step(FIRST_LAST).gradient.model["spare"].tolist() == [0.0, 0.0]


def fold_by_hand(buffers: Params, trace: InnerTrace, weights: tuple[float, ...], momentum: float) -> Params:
    folded = {name: value.clone() for name, value in buffers.items()}
    for t in range(T):
        for k, weight in enumerate(weights):
            for stats in (trace.support_stats, trace.query_stats) if weight else (trace.support_stats,):
                for layer, pair in stats.items():
                    for field, value in zip(BatchStats._fields, pair):
                        running = folded[f"{layer}.running_{field}"]
                        running = running[k] if running.dim() == 2 else running
                        running.copy_((1 - momentum) * running + momentum * value[t, k])
    return folded


@pytest.mark.parametrize("per_step", [True, False], ids=["per step", "shared"])
@pytest.mark.parametrize("track_query", [True, False])
@pytest.mark.parametrize("weights", [(0.2, 0.3, 0.5), (0.0, 0.0, 1.0), (0.4, 0.0, 0.6), (0.5, 0.5)])
def test_statistics_fold_task_by_task_and_support_before_query(
    weights: tuple[float, ...], track_query: bool, per_step: bool
) -> None:
    tasks = Tasks(per_step=per_step)
    config = StepConfig(weights, second_order=False, track_query=track_query)
    step = tasks.step(config, chunk=2)
    expected = fold_by_hand(tasks.buffers, step.trace, weights, 0.1)
    assert step.buffers.keys() == expected.keys()
    assert all(distance(step.buffers[name], expected[name]) < 1e-13 for name in expected)
    fast = fold_batch_stats(tasks.buffers, step.trace, config, 0.7)
    expected = fold_by_hand(tasks.buffers, step.trace, weights, 0.7)
    assert all(distance(fast[name], expected[name]) < 1e-13 for name in expected)
