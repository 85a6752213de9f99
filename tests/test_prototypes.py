"""Prototypical networks: logits and meta-gradient by hand, without an inner loop, and that they learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from mamlkit.core.episodes import Episode, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.prototypes import prototypes
from mamlkit.core.recipes import configure
from mamlkit.core.schedules import StepConfig, step_config
from mamlkit.training.evaluation import evaluate
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import Trainer

SHAPE = (1, 16, 16)
CONFIG = configure("protonet", n_way=3, k_shot=2, q_query=2, filters=4, n_tasks=2, dtype="float64")


def batch() -> Episode:
    """Return two 3-way 2-shot tasks of random images, the support set not in the order of the classes."""
    rng = torch.Generator().manual_seed(0)
    support, query = (torch.rand(2, 6, *SHAPE, generator=rng, dtype=torch.float64) for _ in range(2))
    return Episode(
        support, torch.tensor([2, 0, 1, 1, 0, 2]).repeat(2, 1), query, torch.tensor([0, 0, 1, 1, 2, 2]).repeat(2, 1)
    )


def learner(**changes: Any) -> MetaLearner:
    return MetaLearner.from_config(dataclasses.replace(CONFIG, **changes), SHAPE)


def by_hand(own: MetaLearner, params: dict[str, Tensor], task: int, norm: str = "batch") -> Tensor:
    """Return the logits [Q, N] of one task, class by class and image by image."""
    support_x, support_y, query_x, _ = (field[task] for field in batch())
    images = torch.cat([support_x, query_x])
    embedded, _ = functional_call(own.problem.network, (params, own.buffers), (images, 0, norm))
    support, query = embedded[:6], embedded[6:]
    means = [support[[i for i in range(6) if support_y[i] == n]].mean(0) for n in range(3)]
    return torch.stack([torch.stack([-((one - mean) ** 2).sum() for mean in means]) for one in query])


@pytest.mark.parametrize("engine", ["eager", "vmap"])
@pytest.mark.parametrize("backbone", ["conv4", "resnet12"])
def test_the_meta_gradient_is_that_of_the_distances_to_the_class_means(engine: str, backbone: str) -> None:
    own = learner(engine=engine, backbone=backbone)
    params = {name: value.clone().requires_grad_() for name, value in own.params.items()}
    losses = [F.cross_entropy(by_hand(own, params, task), batch().query_y[task]) for task in range(2)]
    loss = torch.stack(losses).mean()
    expected = torch.autograd.grad(loss, list(params.values()))
    step = own.meta_step(batch(), 0)
    assert float(step.loss) == pytest.approx(float(loss.detach()), abs=1e-10)
    assert max(float(value.abs().max()) for value in expected) > 1e-2
    for name, value in zip(params, expected):
        assert torch.allclose(step.gradient.model[name], value, rtol=0, atol=1e-10), name


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_the_evaluator_gives_the_logits_of_either_norm(norm: str) -> None:
    own = learner(per_step_bn=True, per_step_stats=True)
    for name, buffer in own.buffers.items():
        buffer += 0.5 if name.endswith("var") else 0.1
    logits = own.query_logits(own.to_device(batch()), [norm])
    assert logits.shape == (1, 2, 6, 3)
    for task in range(2):
        assert torch.allclose(logits[0, task], by_hand(own, own.params, task, norm), rtol=0, atol=1e-10)


def test_the_network_has_no_head_and_one_row_of_each_table() -> None:
    own = learner(per_step_bn=True)
    assert own.params.keys() == {
        f"{kind}.{i}.{x}" for i in range(4) for kind in ("convs", "norms") for x in ("weight", "bias")
    }
    assert own.params["norms.0.weight"].shape == (1, 4)
    assert learner(backbone="mlp").query_logits(batch(), ["batch"]).shape == (1, 2, 6, 3)


def test_the_trace_has_one_row_and_no_inner_gradient() -> None:
    own = learner()
    trace = own.meta_step(batch(), 0).trace
    assert trace.query_logits.shape == (2, 6, 3)
    assert trace.query_metric.shape == trace.query_loss.shape == trace.support_loss.shape == (2, 1)
    assert trace.support_loss.isnan().all()
    assert trace.grad_norm.shape == (2, 1, len(own.rows))
    assert not trace.grad_norm.any()
    assert all(value.shape == (2, 1, 4) for stats in trace.query_stats.values() for value in stats)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_steps": 3},
        {"eval_steps": 1},
        {"inner_lr": 0.4},
        {"inner_rule": "adam"},
        {"learn_inner_lrs": True},
        {"second_order": True},
        {"memory": "low"},
        {"adapt": "body"},
    ],
)
def test_settings_of_an_inner_loop_are_refused(changes: dict[str, Any]) -> None:
    [(name, value)] = changes.items()
    with pytest.raises(InputError, match=f"^{name} = {value!r} has no meaning for method = 'protonet'; .* is allowed$"):
        configure("protonet", **changes)


def test_steps_of_the_inner_loop_and_outputs_that_are_no_embeddings_are_refused() -> None:
    own, task = learner(), Episode(*(field[0] for field in batch()))
    with pytest.raises(InputError, match=r"loss_weights = \(0\.5, 0\.5\) is not \(1\.0,\)"):
        prototypes(own.problem, own.meta, own.buffers, task, StepConfig((0.5, 0.5)), n_way=3)
    maps = dataclasses.replace(own.problem, network=torch.nn.Conv2d(1, 2, 3)).configured(own.config)
    with pytest.raises(InputError, match=r"the network returns \[12, 2, 14, 14\]; embeddings"):
        prototypes(maps, maps.start(dtype=torch.float64)[0], {}, task, step_config(own.config, 0), n_way=3)


def test_the_compiled_engine_refuses_it_by_name() -> None:
    with pytest.raises(InputError, match="engine = 'compiled' does not know method = 'protonet'"):
        learner(engine="compiled", dtype="float32").choose_engine(batch())
    assert learner(engine="auto").choose_engine(batch()).engine == "vmap"


def test_the_recipe_learns(glyphs: ImageStore) -> None:
    sizes = dict(filters=8, n_tasks=2, epochs=1, iterations_per_epoch=60, val_episodes=40, outer_lr=0.01, engine="vmap")
    trainer = Trainer.from_config(configure("protonet", **sizes), glyphs)
    before = evaluate([trainer.learner], trainer.val, 40)
    [record] = trainer.epochs()
    assert record.validation.accuracy - record.validation.ci95 > before.accuracy + 0.2  # which is above chance, 0.2


def test_a_loss_that_is_no_scalar_is_refused() -> None:
    own = learner()
    problem = dataclasses.replace(own.problem, loss=lambda logits, y: F.cross_entropy(logits, y, reduction="none"))
    task = Episode(*(field[0] for field in batch()))
    with pytest.raises(InputError, match=r"^the loss returns a tensor of shape \[6\]; a scalar is needed$"):
        prototypes(problem, own.meta, own.buffers, task, StepConfig((1.0,)), n_way=3)
