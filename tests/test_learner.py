"""The learner: Adam by hand, refused steps, clamp and clip, its state and where it stands."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tiny import same
from torch import Tensor, nn

from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import MetaStep, meta_gradient
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import outer_lr, step_config
from mamlkit.training.learner import MetaLearner, pick_device

SHAPE = (1, 16, 16)
SHARED = {"per_step_bn": False, "per_step_stats": False}
PER_STEP = {"per_step_bn": True, "per_step_stats": True, "learn_inner_lrs": True, "multi_step_loss": True}
TINY = {"image_size": 16, "n_way": 2, "filters": 3, "n_steps": 2, "epochs": 10, "tasks_per_chunk": 2}
CONFIG = Config(**TINY, **PER_STEP, beta2=0.99, device="cpu", dtype="float64")


def make(**changes: Any) -> MetaLearner:
    return MetaLearner.from_config(dataclasses.replace(CONFIG, **changes), SHAPE)


def make_batch(seed: int = 0) -> Episode:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 1]).repeat(2, 1)
    images = [torch.rand(2, n, *SHAPE, generator=rng) for n in (2, 4)]
    return Episode(images[0], labels, images[1], labels.repeat_interleave(2, 1))


def make_step(learner: MetaLearner, seed: int = 0, scale: float = 1.0) -> MetaStep:
    """Return a meta-step with a random gradient, and buffers that are one larger."""
    rng = torch.Generator().manual_seed(seed)

    def noise(like: Tensor) -> Tensor:
        return scale * torch.randn(like.shape, generator=rng, dtype=like.dtype)

    gradient = MetaParams({n: noise(p) for n, p in learner.params.items()}, {"inner_lrs": noise(learner.inner_lrs)})
    loss = torch.ones((), dtype=torch.float64)
    return MetaStep(gradient, loss, None, {name: value + 1 for name, value in learner.buffers.items()})  # type: ignore[arg-type]


def learned(meta: MetaParams) -> list[Tensor]:
    return [*meta.model.values(), meta.inner_lrs]


def snapshot(learner: MetaLearner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.state().items()}


def test_a_step_is_adams_by_hand() -> None:
    learner = make()
    expected = [value.clone() for value in learned(learner.meta)]
    moments = [(torch.zeros_like(value), torch.zeros_like(value)) for value in expected]
    for t in range(1, 4):
        step = make_step(learner, seed=t)
        assert learner.apply(step, epoch=0)
        for i, g in enumerate(learned(step.gradient)):
            m, v = moments[i]
            moments[i] = m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
            expected[i] = expected[i] - 1e-3 * (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
        assert all(torch.allclose(a, b, rtol=0, atol=1e-14) for a, b in zip(learned(learner.meta), expected))
        assert all(torch.equal(learner.buffers[name], value) for name, value in step.buffers.items())


def test_a_meta_step_is_the_epochs_and_changes_nothing() -> None:
    learner, batch = make(first_order_share=0.5, msl_share=0.2), make_batch()
    before = snapshot(learner)
    for epoch in (0, 9):
        step, config = learner.meta_step(batch, epoch), step_config(learner.config, epoch)
        doubles = Episode(*(x.double() if x.is_floating_point() else x for x in batch))
        expected = meta_gradient(learner.problem, learner.meta, learner.buffers, doubles, config, tasks_per_chunk=2)
        assert config.second_order == (epoch == 9)
        assert torch.equal(step.loss, expected.loss)
        assert all(torch.equal(a, b) for a, b in zip(learned(step.gradient), learned(expected.gradient)))
    assert same(snapshot(learner), before)


def test_a_loss_of_its_own_reaches_the_support_and_the_query_passes() -> None:
    problem = Problem(make().problem.network, loss=lambda outputs, targets: 0 * outputs.sum() + 7)
    learner = MetaLearner(problem, CONFIG)
    for one in (learner, learner.reconfigure(CONFIG)):
        step = one.meta_step(make_batch(), epoch=0)
        assert step.loss == 7
        assert (step.trace.support_loss == 7).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["model", "inner_lrs", "loss", "buffers"])
def test_a_step_that_is_not_finite_is_refused_and_changes_nothing(place: str, value: float) -> None:
    learner, straight = make(), make()
    for one in (learner, straight):
        assert one.apply(make_step(one, seed=1), epoch=0)
    before, bad = snapshot(learner), make_step(learner, seed=2)
    spoiled = {
        "model": bad.gradient.model["head.bias"][1:],
        "inner_lrs": bad.gradient.inner_lrs[3, 1:],
        "loss": bad.loss,
        "buffers": bad.buffers["norms.2.running_var"][1, 2:],
    }
    spoiled[place].fill_(value)
    assert learner.apply(bad, epoch=5) is False
    assert same(snapshot(learner), before)
    for one in (learner, straight):
        assert one.apply(make_step(one, seed=3), epoch=0)
    assert same(snapshot(learner), snapshot(straight))


@pytest.mark.parametrize("limit", ["grad_clamp", "grad_clip"])
@pytest.mark.parametrize("learn_inner_lrs", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_a_gradient_is_clamped_by_entry_or_clipped_by_the_norm_of_all_that_is_learned(
    limit: str, learn_inner_lrs: bool, scale: float
) -> None:
    learner = make(learn_inner_lrs=learn_inner_lrs, **{limit: 0.5})
    step = make_step(learner, scale=scale)
    gradients = [gradient.clone() for gradient in learned(step.gradient)[: None if learn_inner_lrs else -1]]
    learner.apply(step, epoch=0)
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    for i, gradient in enumerate(gradients):
        limited = gradient.clamp(-0.5, 0.5) if limit == "grad_clamp" else gradient * (0.5 / norm).clamp(max=1)
        assert torch.allclose(learner.state()[f"adam/{i}/exp_avg"], 0.1 * limited, rtol=1e-5, atol=0)


@pytest.mark.parametrize("limit", ["grad_clamp", "grad_clip"])
def test_a_step_is_taken_and_not_written(limit: str) -> None:
    learner = make(**{limit: 0.1})
    step = make_step(learner)
    before = [gradient.clone() for gradient in learned(step.gradient)]
    learner.apply(step, epoch=0)
    assert all(torch.equal(a, b) for a, b in zip(learned(step.gradient), before))


def test_inner_rates_change_and_count_only_where_they_are_learned() -> None:
    for learn in (True, False):
        learner = make(learn_inner_lrs=learn, inner_lr=0.3)
        assert torch.equal(learner.inner_lrs, torch.full((10, 2), 0.3, dtype=torch.float64))
        learner.apply(make_step(learner), epoch=0)
        assert (learner.inner_lrs != 0.3).unique().tolist() == [learn]
        bad = make_step(learner)
        bad.gradient.inner_lrs[0, 0] = torch.nan
        assert learner.apply(bad, epoch=0) != learn


@pytest.mark.parametrize("cosine", [True, False])
def test_the_rate_of_the_epoch_is_used(cosine: bool) -> None:
    for epoch in (0, 3, 9):
        learner = make(cosine_lr=cosine, min_outer_lr=1e-4)
        before = learner.params["head.weight"].clone()
        learner.apply(make_step(learner), epoch)
        rate = outer_lr(learner.config, epoch)
        moved = (learner.params["head.weight"] - before).abs()
        assert torch.allclose(moved, torch.full_like(moved, rate), rtol=1e-5)  # Adam's first step is g / (|g| + 1e-8)


def test_stop_and_resume_equals_a_straight_run_bit_for_bit() -> None:
    straight, resumed = make(cosine_lr=True), make(cosine_lr=True, seed=99)
    straight.apply(straight.meta_step(make_batch(0), epoch=0), epoch=0)
    resumed.load_state(snapshot(straight))
    assert same(snapshot(resumed), snapshot(straight))
    for learner in (straight, resumed):
        learner.apply(learner.meta_step(make_batch(1), epoch=1), epoch=1)
    assert same(snapshot(resumed), snapshot(straight))


def test_a_state_holds_every_tensor_by_a_flat_name() -> None:
    learner = make()
    tensors = {f"model/{name}" for name in learner.params} | {f"buffers/{name}" for name in learner.buffers}
    assert learner.state().keys() == tensors | {"inner_lrs"}
    learner.apply(make_step(learner), epoch=0)
    moments = {f"adam/{i}/{name}" for i in range(19) for name in ("step", "exp_avg", "exp_avg_sq")}
    assert learner.state().keys() == tensors | {"inner_lrs"} | moments


def test_a_state_without_moments_forgets_those_of_before() -> None:
    learner, fresh = make(), make()
    start = snapshot(learner)
    learner.apply(make_step(learner, seed=1), epoch=0)
    learner.load_state(start)
    for one in (learner, fresh):
        one.apply(make_step(one, seed=2), epoch=0)
    assert same(snapshot(learner), snapshot(fresh))


def test_a_loaded_state_shares_no_memory_with_its_source() -> None:
    source, learner = make(), make()
    source.apply(make_step(source), epoch=0)
    before = snapshot(source)
    learner.load_state(source.state())
    learner.apply(make_step(learner, seed=1), epoch=0)
    assert same(snapshot(source), before)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("model/head.bias", None, "are not this network's; only one of them has model/head.bias"),
        ("buffers/norms.0.running_mean", None, "only one of them has buffers/norms.0.running_mean"),
        ("inner_lrs", None, "only one of them has inner_lrs"),
        ("model/extra", torch.ones(3), "only one of them has model/extra"),
        ("model/head.bias", torch.ones(3), r"checkpoint's model/head.bias has shape \[3\]; this network needs \[2\]"),
        ("inner_lrs", torch.ones(10, 3), r"inner_lrs has shape \[10, 3\]; this network needs \[10, 2\]"),
        ("adam/0/exp_avg", None, "only one of them has adam/0/exp_avg"),
        ("adam/19/exp_avg", torch.ones(2), "only one of them has adam/19/exp_avg"),
        ("adam/1/exp_avg_sq", torch.ones(2), r"adam/1/exp_avg_sq has shape \[2\]; this network needs \[3\]"),
    ],
)
def test_a_state_of_another_network_is_refused_and_changes_nothing(
    name: str, value: Tensor | None, sentence: str
) -> None:
    learner, source = make(), make(seed=1)
    source.apply(make_step(source), epoch=0)
    before, other = snapshot(learner), {**snapshot(source), name: value}
    with pytest.raises(InputError, match=sentence):
        learner.load_state({key: tensor for key, tensor in other.items() if tensor is not None})
    assert same(snapshot(learner), before)


def test_a_seed_decides_the_weights_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = make(seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = make(seed=0), make(seed=1)
    assert same(one.state(), again.state())
    weights = [name for name in one.params if name.endswith("weight") and not name.startswith("norms")]
    assert not any(torch.equal(one.params[name], other.params[name]) for name in weights)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_module_stays_as_it_is(dtype: str) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 16), nn.Flatten(), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    learner = MetaLearner(Problem(module), dataclasses.replace(CONFIG, **SHARED, dtype=dtype))
    assert learner.rows == tuple(before)
    assert {value.dtype for value in learned(learner.meta)} == {getattr(torch, dtype)}
    assert learner.apply(learner.meta_step(make_batch(), 0), epoch=0)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_buffer_of_whole_numbers_stays_one() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    learner = MetaLearner(Problem(module), dataclasses.replace(CONFIG, **SHARED))
    kinds = {name.rsplit(".", 1)[1]: value.dtype for name, value in learner.buffers.items()}
    assert kinds == dict.fromkeys(("running_mean", "running_var"), torch.float64) | {"num_batches_tracked": torch.int64}


def test_the_table_of_rates_is_as_wide_as_the_longest_loop_and_as_high_as_what_adapts() -> None:
    longer = make(learn_inner_lrs=False, per_step_bn=False, per_step_stats=False, eval_steps=7, adapt="head")
    assert longer.inner_lrs.shape == (2, 7)
    assert longer.rows == ("head.weight", "head.bias")
    assert make(eval_steps=1).inner_lrs.shape == (10, 2)


def test_a_reconfigured_learner_has_copies_of_the_tensors_and_rates_for_more_steps() -> None:
    learner = make(learn_inner_lrs=False, per_step_bn=False, per_step_stats=False)
    learner.inner_lrs[:, 1] = 0.7
    longer = learner.reconfigure(dataclasses.replace(learner.config, eval_steps=4))
    assert longer.inner_lrs.tolist() == [[0.1, 0.7, 0.1, 0.1]] * 10
    for ours, theirs in ((longer.params, learner.params), (longer.buffers, learner.buffers)):
        assert same(ours, theirs)
        assert not any(ours[name] is theirs[name] for name in theirs)


@pytest.mark.parametrize(("present", "taken"), [((), "cpu"), (("mps",), "cpu"), (("cuda", "mps"), "cuda")])
def test_auto_takes_cuda_or_the_cpu_and_an_absent_device_is_refused(
    present: tuple[str, ...], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in present)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in present)
    assert pick_device("auto") == torch.device(taken)
    for name in ("cpu", *present):
        assert pick_device(name) == torch.device(name)
    for name in {"cuda", "mps"} - set(present):
        there = ", ".join((*present, "cpu"))
        with pytest.raises(InputError, match=f"device = '{name}' is not on this machine; it has {there}"):
            pick_device(name)
