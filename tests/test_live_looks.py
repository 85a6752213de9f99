"""A look at a start: its gradients, its drift and its answer are those of the library's own functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mamlkit import MetaLearner, configure
from mamlkit.core.episodes import Episode
from mamlkit.core.outer_loop import meta_gradient
from mamlkit.core.problem import MetaParams
from mamlkit.core.schedules import StepConfig
from mamlkit.datasets import ImageStore
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.live.looks import look
from mamlkit.training.diagnostics import bn_drift, trace_batch
from mamlkit.training.trainer import make_sampler

K = 2
SIZES: dict[str, Any] = dict(n_way=2, eval_query=2, filters=3, n_steps=K, dtype="float64", device="cpu")


def make(store: ImageStore, recipe: str = "mamlpp", **values: Any) -> tuple[MetaLearner, Episode]:
    config = configure(recipe, **{**SIZES, **values})
    sampler = make_sampler(store, config, "val")
    learner = MetaLearner.from_config(config, sampler.image_shape)
    return learner, learner.to_device(sampler.episode(0))


def test_the_norms_are_of_the_exact_gradient_of_each_steps_query_loss(glyphs: ImageStore) -> None:
    learner, task = make(glyphs)  # whose training begins with first order
    norms = look(learner, task, 0, at=0).norms
    batch = Episode(*(x[None] for x in task))
    assert norms.shape == (K + 1,)
    for step in range(K):
        one = StepConfig(tuple(float(k == step) for k in range(K)))
        gradient = meta_gradient(learner.problem, learner.meta, learner.buffers, batch, one).gradient
        whole = torch.cat([part.flatten() for part in gradient.model.values()])
        assert norms[step + 1] == pytest.approx(float(whole.norm()), rel=1e-10)
    still = MetaParams(learner.params, {"inner_lrs": torch.zeros_like(learner.inner_lrs)})
    gradient = meta_gradient(learner.problem, still, learner.buffers, batch, StepConfig((1.0, 0.0))).gradient
    whole = torch.cat([part.flatten() for part in gradient.model.values()])
    assert norms[0] == pytest.approx(float(whole.norm()), rel=1e-10)


def test_the_drift_is_of_the_query_pass_after_the_last_step_by_layer(glyphs: ImageStore) -> None:
    learner, task = make(glyphs)
    rows = bn_drift(trace_batch(learner, Episode(*(x[None] for x in task))))
    expected = [next(r["shift"] for r in rows if (r["layer"], r["step"], r["pass"]) == (f"norms.{i}", K - 1, "query"))
                for i in range(4)]  # fmt: skip
    assert np.allclose(look(learner, task, 0, at=0).drift, expected, rtol=1e-12)


@pytest.mark.parametrize("k_shot", [1, 2])
def test_the_probabilities_are_of_one_query_drawing_given_one_drawing_of_each_class(
    glyphs: ImageStore, k_shot: int
) -> None:
    learner, task = make(glyphs, k_shot=k_shot)
    seen = look(learner, task, 3, at=7)
    [by_step] = Classifier(learner, task.support_x[::k_shot]).probabilities(task.query_x[3:4])
    assert seen.at == 7
    assert np.allclose(seen.probabilities, by_step[-1].numpy(), rtol=1e-12)
    assert seen.probabilities.sum() == pytest.approx(1)


def test_a_look_changes_nothing(glyphs: ImageStore) -> None:
    learner, task = make(glyphs)
    before = {name: tensor.clone() for name, tensor in learner.state().items()}
    look(learner, task, 0, at=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.state().items())


def test_a_start_whose_numbers_are_not_finite_can_be_looked_at(glyphs: ImageStore) -> None:
    learner, task = make(glyphs, "maml", inner_lr=1e300)
    seen = look(learner, task, 0, at=0)
    assert not np.isfinite(seen.norms[1:]).any()
    assert not np.isfinite(seen.probabilities).any()
