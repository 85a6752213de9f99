"""The loss surfaces, the path and the tables of an inner loop, against what the inner loop itself says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from browser import ROOT
from torch import Tensor

from mamlkit.core.episodes import Episode, EpisodeSampler, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import adapt
from mamlkit.core.recipes import configure
from mamlkit.core.schedules import eval_config
from mamlkit.show.live.travel import random_direction, travel
from mamlkit.study import stored
from mamlkit.training.diagnostics import trace_batch
from mamlkit.training.learner import MetaLearner

K = 3
TINY = dict(n_way=3, k_shot=1, filters=4, n_steps=K, image_size=16, inner_lr=0.2, device="cpu", dtype="float64")


def make(recipe: str = "maml", **changes: object) -> MetaLearner:
    learner = MetaLearner.from_config(configure(recipe, **{**TINY, **changes}), (1, 16, 16))
    for name, value in learner.params.items():  # a start in which the rows of per-step tables differ
        if name.startswith("norms"):
            value += 0.1 * torch.arange(value.numel()).reshape(value.shape)
    return learner


def make_episode() -> Episode:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(9, 1, 16, 16, generator=generator)
    return Episode(images[:3], torch.arange(3), images[3:], torch.arange(3).repeat_interleave(2))


EPISODE = make_episode()
each_recipe = pytest.mark.parametrize("recipe", ["maml", "mamlpp"])


def look(learner: MetaLearner, **settings: object):
    return travel(learner, EPISODE, **{"grid": 5, **settings})  # its places are -2, -1, 0, 1, 2


def steps_of(learner: MetaLearner) -> list[dict[str, Tensor]]:
    episode = learner.to_device(EPISODE)
    with torch.no_grad():
        moved = adapt(learner.problem, learner.meta, learner.buffers, episode, eval_config(learner.config, "batch"))
        return [learner.params, *(step.params for step in moved)]


def support_loss(learner: MetaLearner, params: dict[str, Tensor], row: int) -> Tensor:
    episode = learner.to_device(EPISODE)
    logits, _ = torch.func.functional_call(learner.problem.network, (params, learner.buffers), (episode.support_x, row))
    return learner.problem.loss(logits, episode.support_y).detach()


@each_recipe
def test_the_surface_at_its_origin_is_the_support_loss_at_every_step(recipe: str) -> None:
    learner = make(recipe)
    found = look(learner)
    assert torch.allclose(found.surfaces[:, 2, 2], found.support_loss, rtol=1e-10)
    batch = Episode(*(x[None] for x in EPISODE))
    assert torch.allclose(found.support_loss[:K], trace_batch(learner, batch).support_loss[0], rtol=1e-10)
    assert torch.allclose(found.support_loss[K], support_loss(learner, steps_of(learner)[K], K - 1), rtol=1e-10)


@each_recipe
def test_one_step_along_the_update_the_surface_is_the_loss_at_the_next_step(recipe: str) -> None:
    learner = make(recipe)
    found, steps = look(learner), steps_of(learner)
    ends = torch.stack([support_loss(learner, steps[k + 1], k) for k in range(K)])
    assert torch.allclose(found.surfaces[:K, 2, 3], ends, rtol=1e-10)
    assert torch.allclose(found.reached_loss, ends, rtol=1e-10)
    if recipe == "maml":  # one batch norm for every step: the next step sees the same loss
        assert torch.allclose(ends, found.support_loss[1:], rtol=1e-10)
    else:
        assert not torch.isclose(ends[:-1], found.support_loss[1:-1], rtol=1e-3).any()


def test_a_place_off_the_axes_is_both_directions_added() -> None:
    learner = make()
    found, steps = look(learner, seed=4), steps_of(learner)
    update = {name: steps[2][name] - steps[1][name] for name in learner.rows}
    across = random_direction(update, 4)
    there = {name: steps[1][name] - update[name] + 2 * across[name] for name in learner.rows}
    assert torch.allclose(found.surfaces[1, 4, 1], support_loss(learner, steps[1] | there, 1), rtol=1e-10)


def test_the_random_direction_is_orthogonal_to_the_update_and_as_long_in_every_tensor() -> None:
    steps = steps_of(make())
    update = {name: steps[1][name] - steps[0][name] for name in make().rows}
    across = random_direction(update, 0)
    for name, step in update.items():
        assert torch.allclose(across[name].norm(), step.norm(), rtol=1e-10)
        assert abs((across[name] * step).sum()) <= 1e-12 * step.norm() ** 2
    assert not torch.equal(across["head.weight"], random_direction(update, 1)["head.weight"])


def test_a_tensor_that_does_not_move_or_cannot_turn_has_no_random_direction() -> None:
    across = random_direction({"still": torch.zeros(4), "single": torch.ones(1)}, 0)
    assert all(torch.equal(value, torch.zeros_like(value)) for value in across.values())


@each_recipe
def test_on_the_plane_of_a_step_the_path_stands_at_the_origin_and_then_one_update_along(recipe: str) -> None:
    path = look(make(recipe)).path
    assert path.shape == (K + 1, K + 1, 2)
    here, next_one = path[range(K + 1), range(K + 1)], path[range(K), range(1, K + 1)]
    assert torch.equal(here, torch.zeros(K + 1, 2, dtype=torch.float64))
    assert torch.allclose(next_one, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-10)
    assert torch.allclose(path[K, K - 1], torch.tensor([-1.0, 0.0], dtype=torch.float64), atol=1e-10)


def test_the_path_of_other_steps_is_their_orthogonal_projection() -> None:
    learner = make()
    path, steps = look(learner).path, steps_of(learner)
    flat = [torch.cat([params[name].flatten() for name in learner.rows]) for params in steps]
    update = flat[2] - flat[1]
    assert torch.allclose(path[1, 3, 0], (flat[3] - flat[1]) @ update / (update @ update))


def test_norms_are_those_of_the_gradients_times_the_rates_and_rates_are_the_learners() -> None:
    learner = make("mamlpp")
    learner.inner_lrs[-1] *= -1
    found = look(learner)
    batch = Episode(*(x[None] for x in EPISODE))
    gradients = trace_batch(learner, batch).grad_norm[0]  # [K, n_adapted]
    assert torch.allclose(found.update_norms, gradients * learner.inner_lrs.T.abs(), rtol=1e-8, atol=1e-15)
    assert torch.equal(found.rates, learner.inner_lrs[:, :K])
    assert found.names == learner.rows


@each_recipe
def test_the_confusion_table_counts_every_query_image_and_agrees_with_the_accuracy(recipe: str) -> None:
    learner = make(recipe)
    found = look(learner)
    assert found.confusion.shape == (K + 1, 3, 3)
    assert torch.equal(found.confusion.sum(2), torch.full((K + 1, 3), 2))
    right = found.confusion.diagonal(dim1=1, dim2=2).sum(1) / 6
    assert torch.allclose(right.double(), found.query_accuracy)
    trace = trace_batch(learner, Episode(*(x[None] for x in EPISODE)))
    assert torch.allclose(found.query_loss[1:], trace.query_loss[0])
    assert torch.allclose(found.query_accuracy[1:], trace.query_metric[0])


def test_a_row_of_the_confusion_table_is_the_true_class() -> None:
    learner = make()
    learner.params["head.bias"] += torch.tensor([0.0, 50.0, 0.0])  # everything is taken for class 1
    assert look(learner, n_steps=1).confusion[0].tolist() == [[0, 2, 0], [0, 2, 0], [0, 2, 0]]


def test_fewer_steps_may_be_asked_for() -> None:
    whole, short = look(make()), look(make(), n_steps=1)
    assert short.surfaces.shape == (2, 5, 5)
    assert torch.equal(short.surfaces[0], whole.surfaces[0])
    assert short.rates.shape == (10, 1)


def test_with_rates_of_zero_nothing_moves_and_every_surface_is_flat() -> None:
    found = look(make(inner_lr=0.0))
    assert torch.equal(found.path, torch.zeros_like(found.path))
    assert torch.allclose(found.surfaces, found.support_loss[0].expand_as(found.surfaces))


def test_an_inner_loop_that_explodes_gives_values_that_are_not_finite() -> None:
    found = look(make(inner_lr=1e200))
    assert not found.surfaces.isfinite().all()
    assert found.confusion.sum() == 6 * (K + 1)


def test_the_learner_and_the_random_state_of_torch_stay_as_they_are() -> None:
    learner = make("mamlpp")
    before = {name: value.clone() for name, value in learner.state().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        state = torch.random.get_rng_state()
        first, second = look(learner), look(learner)
        assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in learner.state().items())
    assert torch.equal(first.surfaces, second.surfaces)
    assert not torch.equal(first.surfaces, look(learner, seed=1).surfaces)
    assert not any(value.requires_grad for value in first if isinstance(value, Tensor))


def test_the_grid_reaches_as_far_as_asked() -> None:
    assert np.allclose(look(make(), grid=3, reach=1.5).axis, [-1.5, 0, 1.5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_steps": 0}, "n_steps = 0 is not positive"),
        ({"n_steps": 4}, "4 inner steps are more than the 3"),
        ({"grid": 1}, "grid = 1 is too small"),
        ({"reach": 0.0}, "reach = 0.0 is not positive"),
        ({"reach": float("nan")}, "reach = nan is not positive"),
    ],
)
def test_what_is_out_of_range_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        look(make(), **settings)


@pytest.mark.parametrize("labels", [torch.arange(3)[None], torch.arange(3.0)])
def test_a_meta_batch_and_a_regression_are_refused(labels: Tensor) -> None:
    with pytest.raises(InputError, match=r"whole numbers \[S\] of one task"):
        travel(make(), EPISODE._replace(support_y=labels))


def test_the_numbers_in_the_pages_text_are_those_of_its_task(glyphs: ImageStore) -> None:
    maml, mamlpp = stored.start("maml"), stored.start("mamlpp")
    episode = EpisodeSampler(glyphs, "test", n_way=5, k_shot=1, q_query=5, seed=0).episode(0)
    random, one, plus = [
        travel(start, episode, grid=2) for start in (MetaLearner.from_config(maml.config, (1, 28, 28)), maml, mamlpp)
    ]
    far, accuracy = random.update_norms.norm(dim=1), 100 * random.query_accuracy
    length, right, loss = one.update_norms.norm(dim=1), 100 * one.query_accuracy, one.support_loss
    stride, last = plus.update_norms.norm(dim=1), plus.update_norms[0, plus.names.index("convs.3.weight")]
    uphill = ("no", "one", "two", "three")
    sentences = (
        f"the five steps get shorter one by one, from a length of {far[0]:.1f} to {far[-1]:.3f}, and the query",
        f"the query accuracy climbs from {accuracy[0]:.0f} to {accuracy[-1]:.0f} %.",
        f"does it all: {length[0]:.1f} long, from a loss of {loss[0]:.1f} to {loss[1]:.3f} and from",
        f"and from {right[0]:.0f} to {right[1]:.0f} % of the query.",
        f"The second is {round(float(length[0] / length[1]), -2):.0f} times shorter.",
        f"MAML++ makes one stride of {stride[0]:.1f}, nearly all of it in the last convolution",
        f"In its first step MAML++ has {uphill[(plus.rates[:, 0] < 0).sum()]}, both small,",
        f"in its second {uphill[(plus.rates[:, 1] < 0).sum()]}.",
        f"of {sum(value.numel() for name, value in maml.params.items() if name in one.names):,} parameters",
    )
    text = " ".join((ROOT / "notebooks/source/live/travel.py").read_text("utf-8").replace("\n#", "").split())
    assert [sentence for sentence in sentences if sentence not in text] == []
    assert last > 0.98 * stride[0]
