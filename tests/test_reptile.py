"""Reptile: its meta-gradient against a loop by hand, its minibatches, and that it learns."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.recipes import configure
from mamlkit.core.reptile import minibatches, reptile
from mamlkit.core.schedules import StepConfig, eval_config, step_config
from mamlkit.training.evaluation import evaluate
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import Trainer

SHAPE = (1, 16, 16)
CONFIG = Config(
    method="reptile",
    second_order=False,
    adapt_norms=True,
    n_way=2,
    filters=3,
    n_steps=4,
    n_tasks=2,
    inner_lr=0.05,
    dtype="float64",
)


def batch(q_query: int = 2) -> Episode:
    """Return two 2-way 1-shot tasks of random images, ordered by class."""
    rng = torch.Generator().manual_seed(0)
    support, query = (torch.rand(2, 2 * n, *SHAPE, generator=rng, dtype=torch.float64) for n in (1, q_query))
    labels = torch.tensor([0, 1]).repeat(2, 1)
    return Episode(support, labels, query, labels.repeat_interleave(q_query, 1))


def learner(**changes: Any) -> MetaLearner:
    return MetaLearner.from_config(dataclasses.replace(CONFIG, **changes), SHAPE)


def by_hand(own: MetaLearner, task: int) -> dict[str, Tensor]:
    """Return start minus adapted of one task, by torch's own SGD on one minibatch after the other."""
    support_x, support_y, query_x, query_y = (field[task] for field in batch())
    parts = [(support_x, support_y), (query_x[[0, 2]], query_y[[0, 2]]), (query_x[[1, 3]], query_y[[1, 3]])]
    params = {name: value.clone().requires_grad_() for name, value in own.params.items()}
    optimizer = torch.optim.SGD(params.values(), lr=0.05)
    for x, y in (*parts, parts[0]):
        optimizer.zero_grad()
        logits, _ = functional_call(own.problem.network, (params, own.buffers), (x, 0))
        F.cross_entropy(logits, y).backward()
        optimizer.step()
    return {name: own.params[name] - value.detach() for name, value in params.items()}


@pytest.mark.parametrize("engine", ["eager", "vmap"])
def test_the_meta_gradient_is_the_start_minus_the_adapted_parameters(engine: str) -> None:
    own = learner(engine=engine)
    gradient = own.meta_step(batch(), 0).gradient
    expected = [by_hand(own, task) for task in range(2)]
    assert gradient.model.keys() == expected[0].keys()
    for name, value in gradient.model.items():
        mean = (expected[0][name] + expected[1][name]) / 2
        assert torch.allclose(value, mean, rtol=0, atol=1e-12), name
    assert float(gradient.model["norms.3.weight"].abs().max()) > 1e-4
    assert not gradient.rule["inner_lrs"].any()


def test_the_value_of_the_loss_is_that_of_the_query_set_after_the_last_step() -> None:
    own = learner()
    task = Episode(*(field[0] for field in batch()))
    loss, trace = reptile(own.problem, own.meta, own.buffers, task, step_config(own.config, 0))
    adapted = {name: own.params[name] - way for name, way in by_hand(own, 0).items()}
    logits, _ = own.problem.forward(adapted, own.buffers, task.query_x, 3)
    assert float(loss) == pytest.approx(float(F.cross_entropy(logits, task.query_y)), abs=1e-12)
    assert float(trace.query_loss[-1]) == float(loss)
    assert trace.query_loss[:-1].isnan().all()


@pytest.mark.parametrize(("n", "q_query", "dealt"), [(2, 3, [[0, 3], [1, 4], [2, 5]]), (4, 1, [[0, 1]])])
def test_query_images_are_dealt_out_in_minibatches_of_about_the_support_sets_size(
    n: int, q_query: int, dealt: list[list[int]]
) -> None:
    query = torch.arange(2 * q_query)
    parts = minibatches(Episode(-torch.arange(n), torch.zeros(n), query, query))
    assert [part.support_x.tolist() for part in parts] == [(-torch.arange(n)).tolist(), *dealt]
    assert [part.support_y.tolist() for part in parts[1:]] == dealt
    assert all(part.query_x is query for part in parts)


def test_no_graph_goes_through_the_inner_loop() -> None:
    own = learner(adapt_norms=False)
    task = Episode(*(field[0] for field in batch()))
    leaves = own.meta._replace(model={name: value.clone().requires_grad_() for name, value in own.params.items()})
    loss, trace = reptile(own.problem, leaves, own.buffers, task, StepConfig((0.0, 1.0), second_order=True))
    scale = 3.0 * loss
    weight, norm = leaves.model["convs.0.weight"], leaves.model["norms.0.weight"]
    [found, unmoved] = torch.autograd.grad(scale, [weight, norm], allow_unused=True)
    assert unmoved is None  # what the inner loop does not move
    assert found is not None
    assert not trace.support_loss.requires_grad


def test_at_evaluation_only_the_support_set_is_adapted_to() -> None:
    own, maml = learner(eval_steps=6), learner(eval_steps=6, method="maml", second_order=True)
    tasks = own.to_device(batch())
    for norm in ("batch", "running"):
        assert torch.equal(own.query_logits(tasks, [norm]), maml.query_logits(tasks, [norm]))
    assert len(eval_config(own.config, "batch").loss_weights) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"second_order": True},
        {"multi_step_loss": True},
        {"learn_inner_lrs": True},
        {"adapt": "head"},
        {"memory": "low"},
    ],
)
def test_settings_that_reptile_cannot_obey_are_refused(changes: dict[str, Any]) -> None:
    [(name, value)] = changes.items()
    with pytest.raises(InputError, match=f"^{name} = {value!r} has no meaning for method = 'reptile'; .* is allowed$"):
        dataclasses.replace(CONFIG, **changes)


def test_the_compiled_engine_refuses_it_by_name() -> None:
    with pytest.raises(InputError, match="engine = 'compiled' does not know method = 'reptile'"):
        learner(engine="compiled", adapt_norms=False).choose_engine(batch())


@pytest.mark.long
def test_the_recipe_learns(glyphs: ImageStore) -> None:
    sizes = dict(filters=8, n_tasks=2, epochs=1, iterations_per_epoch=40, val_episodes=40, outer_lr=0.01, engine="vmap")
    trainer = Trainer.from_config(configure("reptile", **sizes), glyphs)
    before = evaluate([trainer.learner], trainer.val, 40)
    [record] = trainer.epochs()
    assert record.validation.accuracy - record.validation.ci95 > before.accuracy + 0.05  # which is above chance, 0.2
