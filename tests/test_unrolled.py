"""The meta-gradient of every step: against the outer loop, finite differences and plain sums."""

from __future__ import annotations

import pytest
import torch

from mamlkit.core.episodes import Episode
from mamlkit.core.inner_loop import inner_loop
from mamlkit.core.outer_loop import meta_gradient
from mamlkit.core.problem import MetaParams
from mamlkit.core.recipes import configure
from mamlkit.core.schedules import StepConfig, last_step_only
from mamlkit.core.unrolled import layer_grad_norms, meta_gradients_by_step
from mamlkit.training.learner import MetaLearner

K = 3


@pytest.fixture
def learner() -> MetaLearner:
    config = configure("mamlpp", n_way=2, filters=3, image_size=16, n_steps=K, dtype="float64", inner_lr=0.4)
    return MetaLearner.from_config(config, (1, 16, 16))


@pytest.fixture
def episode() -> Episode:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 1, 16, 16, generator=generator, dtype=torch.float64)
    return Episode(images[:2], torch.tensor([0, 1]), images[2:], torch.tensor([0, 0, 1, 1]))


def by_step(learner: MetaLearner, episode: Episode, second_order: bool = True):
    settings = StepConfig(last_step_only(K), second_order=second_order)
    return meta_gradients_by_step(learner.problem, learner.meta, learner.buffers, episode, settings)


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("weights", [(0.0, 0.0, 1.0), (0.2, 0.3, 0.5)])
def test_the_weighted_sum_of_the_rows_is_the_meta_gradient(learner, episode, weights, second_order) -> None:
    rows = by_step(learner, episode, second_order)
    batch = Episode(*(part.unsqueeze(0) for part in episode))
    settings = StepConfig(weights, second_order=second_order)
    step = meta_gradient(learner.problem, learner.meta, learner.buffers, batch, settings)
    for name, gradient in step.gradient.model.items():
        summed = torch.tensordot(torch.tensor(weights, dtype=torch.float64), rows[name][1:], 1)
        assert torch.allclose(summed, gradient, atol=1e-12), name


def test_row_zero_is_the_gradient_without_any_step(learner, episode) -> None:
    still = MetaParams(learner.params, {"inner_lrs": torch.zeros_like(learner.inner_lrs)})
    name, eps = "head.weight", 1e-6

    def loss(delta: float) -> float:
        moved = learner.params[name].detach().clone()
        moved[0, 0] += delta
        meta = still._replace(model={**learner.params, name: moved})
        # with rates of zero the query loss after the first step is that of the start, by the same row of batch norm
        value, _ = inner_loop(learner.problem, meta, learner.buffers, episode, StepConfig((1.0, 0.0, 0.0)))
        return float(value)

    assert by_step(learner, episode)[name][0, 0, 0] == pytest.approx((loss(eps) - loss(-eps)) / (2 * eps), rel=1e-5)


def test_no_argument_is_changed(learner, episode) -> None:
    before = {name: value.clone() for name, value in learner.state().items()}
    by_step(learner, episode)
    assert all(torch.equal(before[name], value) for name, value in learner.state().items())


def test_layer_norms_add_weights_biases_and_their_batch_norm() -> None:
    gradients = {
        "convs.0.weight": torch.tensor([[3.0], [0.0]]),
        "convs.0.bias": torch.tensor([[0.0], [0.0]]),
        "norms.0.weight": torch.tensor([[4.0], [1.0]]),
        "head.weight": torch.tensor([[12.0], [0.0]]),
    }
    norms = layer_grad_norms(gradients)
    assert list(norms) == ["convs.0", "head", "total"]
    assert norms["convs.0"].tolist() == [5.0, 1.0]
    assert norms["total"].tolist() == [13.0, 1.0]
