"""ResNet-12: names and shapes, the forward pass layer by layer, exact meta-gradients, and a run from begin to end."""

from __future__ import annotations

import dataclasses
import doctest
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mamlkit.__main__ import main
from mamlkit.core import resnet
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.networks import build
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.problem import MetaParams
from mamlkit.core.resnet import ResNet12
from mamlkit.core.schedules import step_config
from mamlkit.engines.work import forward_flop
from mamlkit.training.learner import MetaLearner

SHAPE = (1, 16, 16)
PER_STEP = {"per_step_bn": True, "per_step_stats": True}
CONFIG = Config(
    backbone="resnet12", n_way=2, filters=2, n_steps=2, n_tasks=2, dtype="float64", inner_lr=0.05, multi_step_loss=True
)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch() -> Episode:
    labels = torch.tensor([0, 1]).repeat(2, 1)
    return Episode(
        images(2, 4, *SHAPE), labels.repeat(1, 2), images(2, 4, *SHAPE, seed=1), labels.repeat_interleave(2, 1)
    )


def learner(**changes: Any) -> MetaLearner:
    return MetaLearner.from_config(dataclasses.replace(CONFIG, **changes), SHAPE)


def shaken(**settings: Any) -> ResNet12:
    """Return a network in float64 whose every tensor is different."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ResNet12(1, 16, 2, filters=2, n_steps=3, **settings).double()
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data += torch.rand_like(tensor) / 5
    return model


def test_widths_are_those_of_the_source_and_scale_with_filters() -> None:
    assert doctest.testmod(resnet).attempted == 1
    assert doctest.testmod(resnet).failed == 0
    for filters, expected in ((64, [64, 160, 320, 640]), (3, [3, 7, 15, 30])):
        with torch.device("meta"):
            model = ResNet12(3, 84, 5, filters=filters)
        assert [block.convs[0].out_channels for block in model.blocks] == expected
        assert model.head.in_features == expected[-1]
    assert sum(isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) for layer in model.modules()) == 12


def test_its_arithmetic_is_counted() -> None:
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        learner().problem.network(images(1, *SHAPE).float(), 0)
    assert forward_flop(CONFIG, SHAPE) == counted.get_total_flops()


@pytest.mark.parametrize("norm", ["batch", "running"])
@pytest.mark.parametrize("per_step", [True, False])
def test_logits_equal_the_layers_one_by_one(norm: str, per_step: bool) -> None:
    model = shaken(per_step_bn=per_step, per_step_stats=per_step)
    tensors, x, step = dict(model.state_dict()), images(5, *SHAPE), 1

    def normalised(x: Tensor, layer: str) -> Tensor:
        weight, bias, mean, var = (
            tensors[f"{layer}.{kind}"][step] if per_step else tensors[f"{layer}.{kind}"]
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        if norm == "batch":
            return F.batch_norm(x, None, None, weight, bias, training=True)
        return F.batch_norm(x, mean, var, weight, bias)

    expected = x
    for block in (f"blocks.{i}" for i in range(4)):
        shortcut = normalised(F.conv2d(expected, tensors[f"{block}.convs.3.weight"]), f"{block}.norms.3")
        for i in range(3):
            expected = F.conv2d(expected, tensors[f"{block}.convs.{i}.weight"], padding=1)
            expected = normalised(expected, f"{block}.norms.{i}")
            expected = F.leaky_relu(expected, 0.1) if i < 2 else expected
        expected = F.max_pool2d(F.leaky_relu(expected + shortcut, 0.1), 2)
    expected = F.linear(expected.mean((2, 3)), tensors["head.weight"], tensors["head.bias"])
    logits, stats = model(x, step, norm)
    assert torch.allclose(logits, expected, rtol=0, atol=1e-10)
    assert {f"{layer}.running_{kind}" for layer in stats for kind in ("mean", "var")} == {
        name for name, _ in model.named_buffers()
    }


def test_all_but_the_norms_adapts_and_the_per_step_settings_are_obeyed() -> None:
    own = learner(**PER_STEP)
    convs = [f"blocks.{b}.convs.{i}.weight" for b in range(4) for i in range(4)]
    assert list(own.rows) == [*convs, "head.weight", "head.bias"]
    assert own.params["blocks.3.norms.3.weight"].shape == (2, 20)
    assert own.buffers["blocks.0.norms.0.running_mean"].shape == (2, 2)
    shared = learner()
    assert shared.params["blocks.3.norms.3.weight"].shape == (20,)
    assert list(learner(adapt="head").rows) == ["head.weight", "head.bias"]


@pytest.mark.parametrize("per_step", [True, False])
def test_a_step_moves_the_recorded_statistics_of_every_layer(per_step: bool) -> None:
    own = learner(per_step_bn=per_step, per_step_stats=per_step)
    folded = own.meta_step(batch(), 0).buffers
    assert folded.keys() == own.buffers.keys()
    assert len(folded) == 4 * 4 * 2
    assert not any(torch.equal(folded[name], own.buffers[name]) for name in folded)


@pytest.mark.parametrize("memory", ["normal", "low"])
def test_eager_and_vmap_give_the_same_meta_gradient(memory: str) -> None:
    eager, vmap = (learner(engine=name, memory=memory, **PER_STEP).meta_step(batch(), 0) for name in ("eager", "vmap"))
    assert largest(eager) > 1e-2
    for name, value in eager.gradient.model.items():
        assert torch.allclose(value, vmap.gradient.model[name], rtol=0, atol=1e-10), name


def largest(step: MetaStep) -> float:
    return max(float(value.abs().max()) for value in step.gradient.model.values())


def test_the_meta_gradient_equals_a_finite_difference() -> None:
    own, tasks, h = learner(engine="vmap", **PER_STEP), batch(), 1e-6
    rng, gradient = torch.Generator().manual_seed(2), own.meta_step(tasks, 0).gradient.model
    way = {name: torch.randn(value.shape, generator=rng, dtype=value.dtype) for name, value in own.params.items()}
    length = torch.stack([value.square().sum() for value in way.values()]).sum().sqrt()

    def loss(h: float) -> float:
        meta = MetaParams({name: x + h * way[name] / length for name, x in own.params.items()}, own.rule_tensors)
        return float(engine(meta, own.buffers, tasks, step_config(own.config, 0)).loss)

    engine = own._engine
    assert engine is not None
    slope = sum(float((gradient[name] * way[name]).sum()) for name in way) / float(length)
    assert abs(slope) > 1e-3
    assert slope == pytest.approx((loss(h) - loss(-h)) / (2 * h), abs=1e-6)


def test_only_the_compiled_engine_refuses_it_by_name() -> None:
    with pytest.raises(InputError, match=r"engine = 'compiled' does not know the network ResNet12"):
        learner(engine="compiled", dtype="float32").choose_engine(batch())
    assert learner(engine="auto").choose_engine(batch()).engine == "vmap"


def test_images_of_which_no_pixel_would_be_left_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"^images of 15 pixels are too small for resnet12: .* 16 or more are allowed$"
    ):
        ResNet12(1, 15, 2)
    with pytest.raises(InputError, match="images of 12 pixels"):
        build(CONFIG, (1, 20, 12))
    assert ResNet12(1, 16, 2, filters=1)(torch.zeros(1, *SHAPE), 0)[0].shape == (1, 2)


def test_a_run_is_trained_resumed_and_evaluated_from_the_command_line(tmp_path: Path) -> None:
    def call(*arguments: object) -> str:
        outcome = CliRunner().invoke(main, [str(each) for each in arguments])
        assert outcome.exit_code == 0, outcome.output
        return outcome.output

    sizes = "--filters 1 --n-way 2 --q-query 1 --eval-query 1 --n-steps 1 --n-tasks 1 --iterations-per-epoch 1"
    rest = "--epochs 2 --val-episodes 2 --test-episodes 2 --image-size 28 --ensemble 1 --engine vmap"
    run = tmp_path / "run"
    call("train", "--recipe", "mamlpp", "--backbone", "resnet12", *sizes.split(), *rest.split(), "--out", run)
    tested = json.loads((run / "result.json").read_text("utf-8"))
    (run / "result.json").unlink()
    call("train", "--resume", run)
    assert json.loads((run / "result.json").read_text("utf-8"))["evaluations"] == tested["evaluations"]
    report = json.loads(call("evaluate", run, "--json"))
    assert report["evaluations"] == tested["evaluations"]
    assert report["config"]["backbone"] == "resnet12"
