"""The deep network: its stages, its switches, its arithmetic, and the gradients that the switches tame."""

from __future__ import annotations

import dataclasses
import doctest
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mamlkit.core import deep
from mamlkit.core.config import Config
from mamlkit.core.deep import DeepConv
from mamlkit.core.errors import InputError
from mamlkit.core.networks import build
from mamlkit.core.schedules import StepConfig, last_step_only
from mamlkit.core.unrolled import layer_grad_norms, meta_gradients_by_step
from mamlkit.datasets import load
from mamlkit.engines.work import forward_flop
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import make_sampler

SHAPE = (1, 28, 28)
CONFIG = Config(backbone="deep", filters=16, n_steps=10, inner_lr=0.4, eval_query=3, dtype="float64", device="cpu")


def but(**changes: Any) -> Config:
    return dataclasses.replace(CONFIG, **changes)


@pytest.mark.parametrize("depth", range(4, 13))
def test_every_depth_has_four_poolings_the_last_at_its_end(depth: int) -> None:
    ends = deep.last_convs(depth)
    sizes = [end - before for before, end in zip([-1, *sorted(ends)], sorted(ends))]
    assert len(sizes) == 4
    assert sum(sizes) == depth
    assert max(sizes) - min(sizes) <= 1
    network = DeepConv(1, 16, 3, depth=depth, filters=2)
    assert len(network.convs) == len(network.norms) == depth
    assert network(torch.zeros(2, 1, 16, 16), 0)[0].shape == (2, 3)
    assert doctest.testmod(deep).attempted == 1


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_logits_equal_the_layers_one_by_one(batch_norm: bool, skips: bool) -> None:
    torch.manual_seed(0)
    network = DeepConv(2, 18, 3, depth=6, batch_norm=batch_norm, skips=skips, filters=4).double()
    images = torch.rand(5, 2, 18, 18, dtype=torch.float64)
    x, tensors = images, dict(network.state_dict())
    for i in range(6):
        z = F.conv2d(x, tensors[f"convs.{i}.weight"], tensors[f"convs.{i}.bias"], padding=1)
        z = F.batch_norm(z, None, None, training=True) if batch_norm else z
        x = (x + z.clamp(min=0)) / 2**0.5 if skips and i > 0 else z.clamp(min=0)
        x = F.max_pool2d(x, 2) if i in (1, 2, 4, 5) else x
    expected = F.linear(x.flatten(1), tensors["head.weight"], tensors["head.bias"])
    logits, stats = network(images, 0)
    assert torch.allclose(logits, expected, rtol=0, atol=1e-12)
    assert list(stats) == [f"norms.{i}" for i in range(6 * batch_norm)]


def test_an_activation_keeps_its_size_through_the_layers() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 1, 28, 28)
    for skips in (False, True):
        network = DeepConv(1, 28, 5, depth=12, batch_norm=False, skips=skips, filters=64)
        assert 0.1 < float(network(images, 0)[0].detach().square().mean().sqrt()) < 20


@pytest.mark.parametrize("depth", [4, 7])
def test_its_arithmetic_is_counted(depth: int) -> None:
    config = but(depth=depth, dtype="float32")
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        build(config, SHAPE)(torch.zeros(1, *SHAPE), 0)
    assert forward_flop(config, SHAPE) == counted.get_total_flops()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"backbone": "conv4", "depth": 6}, r"depth = 6 has no meaning for backbone = 'conv4'; 8 is allowed"),
        ({"backbone": "mlp", "skips": True}, r"skips = True has no meaning for backbone = 'mlp'; False is allowed"),
        ({"depth": 13}, r"depth = 13 is out of range; 4 to 12 is allowed"),
        ({"max_pool": False}, r"max_pool = False has no meaning for backbone = 'deep'; True is allowed"),
        (
            {"batch_norm": False, "per_step_bn": True},
            r"per_step_bn = True has no meaning for batch_norm = False; False is allowed",
        ),
    ],
)
def test_a_switch_without_a_meaning_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}$"):
        but(**values)


def growth(**switches: Any) -> float:
    """Return the growth of the meta-gradient's norm over 10 inner steps."""
    config = but(**switches)
    learner = MetaLearner.from_config(config, SHAPE)
    task = learner.to_device(make_sampler(load("glyphs"), config, "val").episode(0))
    settings = StepConfig(last_step_only(10))
    gradients = meta_gradients_by_step(learner.problem, learner.meta, learner.buffers, task, settings)
    norms: Tensor = layer_grad_norms(gradients)["total"]
    return float(norms.nan_to_num(nan=torch.inf).max() / norms[0])


def test_at_a_usual_rate_the_plain_network_explodes_and_each_switch_tames_it() -> None:
    assert growth(batch_norm=False) > 1e6
    assert growth() < 1e3
    assert growth(batch_norm=False, skips=True) < 1e3
