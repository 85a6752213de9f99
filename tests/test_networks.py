"""Networks: sizes and names, batch norm by hand, running statistics, and the forward pass layer by layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamlkit.core.batch_norm import BatchStats
from mamlkit.core.config import Config
from mamlkit.core.networks import MLP, Conv4, build

N_STEPS = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 4, channels: int = 1, side: int = 16) -> Tensor:
    return torch.rand(n, channels, side, side, generator=generator(), dtype=torch.float64)


def shake(model: nn.Module) -> nn.Module:
    """Return the model in float64 with every parameter moved, and running statistics that are all different."""
    rng = generator(1)
    model.double()
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape, generator=rng, dtype=torch.float64) / 10
    for name, buffer in model.named_buffers():
        noise = torch.rand(buffer.shape, generator=rng, dtype=torch.float64)
        buffer.copy_(noise + 0.5 if name.endswith("var") else noise)
    return model


def make_conv4(side: int = 16, **changes: Any) -> Conv4:
    settings = {"filters": 3, "n_steps": N_STEPS, "per_step_bn": True, "per_step_stats": True, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Conv4(1, side, 2, **settings)
    shake(model)
    return model


def count(model: nn.Module, *, norms: bool) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if norms or not name.startswith("norms"))


@pytest.mark.parametrize(
    ("shape", "n_way", "filters", "adapted", "trainable"),
    [
        ((1, 28), 20, 64, 112_724, 115_344),
        ((1, 28), 5, 64, 111_749, 114_369),
        ((3, 84), 5, 48, 69_701, 71_681),
    ],
)
def test_per_step_networks_have_the_authors_number_of_parameters(
    shape: tuple[int, int], n_way: int, filters: int, adapted: int, trainable: int
) -> None:
    model = Conv4(*shape, n_way, filters=filters, n_steps=5, per_step_bn=True)
    assert count(model, norms=False) == adapted
    rates = 10 * (5 + 1)  # the authors' table has a rate that no step uses for each of the ten tensors
    assert count(model, norms=True) + rates == trainable


def test_a_shared_network_has_the_authors_number_of_parameters() -> None:
    assert count(Conv4(1, 28, 20), norms=True) == 113_236


@pytest.mark.parametrize(("per_step_bn", "shape"), [(True, (N_STEPS, 3)), (False, (3,))], ids=["per step", "shared"])
def test_names_and_shapes_of_parameters_are_a_contract(per_step_bn: bool, shape: tuple[int, ...]) -> None:
    model = make_conv4(per_step_bn=per_step_bn)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    kernels = {"weight": (3, 3, 3, 3), "bias": (3,)}
    convs = {f"convs.{i}.{kind}": kernels[kind] for i in range(4) for kind in kernels}
    convs["convs.0.weight"] = (3, 1, 3, 3)
    norms = {f"norms.{i}.{kind}": shape for i in range(4) for kind in ("weight", "bias")}
    head = {"head.weight": (2, 3), "head.bias": (2,)}
    assert shapes == convs | norms | head
    assert list(shapes) == list(convs | norms | head)


@pytest.mark.parametrize(("per_step_stats", "shape"), [(True, (N_STEPS, 3)), (False, (3,))], ids=["per step", "shared"])
def test_names_and_shapes_of_buffers_are_a_contract(per_step_stats: bool, shape: tuple[int, ...]) -> None:
    model = Conv4(1, 16, 2, filters=3, n_steps=N_STEPS, per_step_stats=per_step_stats)
    buffers = dict(model.named_buffers())
    assert {name: tuple(buffer.shape) for name, buffer in buffers.items()} == {
        f"norms.{i}.running_{kind}": shape for i in range(4) for kind in BatchStats._fields
    }
    assert all(bool((buffer == name.endswith("var")).all()) for name, buffer in buffers.items())


def test_a_network_starts_with_xavier_weights_zero_biases_and_norms_that_do_nothing() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Conv4(1, 28, 20, filters=16)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or name.startswith("norms"):
            assert bool((parameter == name.endswith("weight")).all())
            continue
        area = parameter[0, 0].numel() if parameter.dim() == 4 else 1
        bound = (6 / (area * (parameter.shape[0] + parameter.shape[1]))) ** 0.5
        assert 0.95 * bound < parameter.abs().max() < bound + 1e-6
        assert parameter.detach().std().item() == pytest.approx(bound / 3**0.5, rel=0.15)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_a_forward_pass_writes_no_buffer(norm: str) -> None:
    model = make_conv4()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(images(), 0, norm)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


@pytest.mark.parametrize("norm", ["batch", "running"])
@pytest.mark.parametrize("max_pool", [True, False], ids=["pooled", "strided"])
@pytest.mark.parametrize("per_step", [True, False])
def test_logits_and_statistics_equal_the_layers_one_by_one(norm: str, max_pool: bool, per_step: bool) -> None:
    model = make_conv4(side=32, max_pool=max_pool, per_step_bn=per_step, per_step_stats=per_step)
    tensors: dict[str, Tensor] = dict(model.state_dict())
    step, x = 1, images(side=32)
    logits, stats = model(x, step, norm)
    assert list(stats) == [f"norms.{i}" for i in range(4)]
    for i in range(4):
        row = {k: tensors[f"norms.{i}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
        row = {k: value[step] if per_step else value for k, value in row.items()}
        x = F.conv2d(x, tensors[f"convs.{i}.weight"], tensors[f"convs.{i}.bias"], stride=2 - max_pool, padding=1)
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        assert torch.allclose(stats[f"norms.{i}"].mean, mean, rtol=0, atol=1e-10)
        assert torch.allclose(stats[f"norms.{i}"].var, var, rtol=0, atol=1e-10)
        n = x.numel() / 3
        used = (mean, var * (n - 1) / n) if norm == "batch" else (row["running_mean"], row["running_var"])
        mean, var, weight, bias = (v[:, None, None] for v in (*used, row["weight"], row["bias"]))
        x = weight * (x - mean) / (var + 1e-5).sqrt() + bias
        x = torch.where(x > 0, x, 0.01 * x)
        x = F.max_pool2d(x, 2, 2) if max_pool else x
    x = x.flatten(1) if max_pool else x.mean((2, 3))
    expected = x @ tensors["head.weight"].T + tensors["head.bias"]
    assert torch.allclose(logits, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("max_pool", [True, False], ids=["pooled", "strided"])
def test_predictions_by_running_statistics_do_not_depend_on_other_images(max_pool: bool) -> None:
    model, x = make_conv4(max_pool=max_pool), images()
    together, _ = model(x, 2, "running")
    alone = torch.cat([model(image[None], 2, "running")[0] for image in x])
    assert torch.allclose(together, alone, rtol=0, atol=1e-13)
    assert not torch.allclose(model(x, 2)[0][:2], model(x[:2], 2)[0], rtol=0, atol=1e-3)


def test_running_statistics_of_another_step_change_nothing() -> None:
    model, x = make_conv4(), images()
    before = [model(x, step, "running")[0] for step in range(N_STEPS)]
    model.norms[2].running_mean[1] += 1.0
    model.norms[0].running_var[1] *= 2.0
    after = [model(x, step, "running")[0] for step in range(N_STEPS)]
    assert [torch.equal(a, b) for a, b in zip(before, after)] == [True, False, True]


@pytest.mark.parametrize(("side", "pooled"), [(16, 1), (28, 1), (42, 4), (84, 25)])
def test_the_head_is_as_wide_as_what_is_left_of_the_image(side: int, pooled: int) -> None:
    for max_pool, width in ((True, 3 * pooled), (False, 3)):
        model = Conv4(1, side, 2, filters=3, max_pool=max_pool)
        assert model.head.in_features == width
        assert model(torch.zeros(1, 1, side, side), 0)[0].shape == (1, 2)


def test_the_mlp_is_linear_layers_with_relu_between_them() -> None:
    model = MLP(6, 2, hidden=(5, 4)).double()
    shake(model)
    x = torch.randn(7, 2, 3, generator=generator(), dtype=torch.float64)
    tensors = dict(model.named_parameters())
    names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "head.weight", "head.bias"]
    assert list(tensors) == names
    w0, b0, w1, b1, w2, b2 = tensors.values()
    expected = ((x.flatten(1) @ w0.T + b0).clamp(min=0) @ w1.T + b1).clamp(min=0) @ w2.T + b2
    outputs, stats = model(x, 0)
    assert torch.allclose(outputs, expected, rtol=0, atol=1e-14)
    assert stats == {}
    assert torch.equal(model(x, 5, "running")[0], outputs)
    assert [w.shape[0] for w in (MLP(1, 1).layers[0].weight, MLP(1, 1).layers[1].weight)] == [40, 40]


@pytest.mark.parametrize(
    ("changes", "name", "shape"),
    [
        ({}, "head.weight", (5, 6)),
        ({"n_way": 7}, "head.weight", (7, 6)),
        ({"max_pool": True}, "head.weight", (5, 24)),
        ({"filters": 4}, "convs.0.weight", (4, 3, 3, 3)),
        ({}, "norms.0.weight", (6,)),
        ({"per_step_bn": True, "n_steps": 2}, "norms.0.weight", (2, 6)),
        ({"per_step_bn": True}, "norms.0.running_mean", (6,)),
        ({"per_step_stats": True, "n_steps": 4}, "norms.0.running_mean", (4, 6)),
        ({"backbone": "mlp", "max_pool": True}, "layers.0.weight", (6, 3 * 32 * 32)),
        ({"backbone": "mlp", "max_pool": True}, "layers.1.weight", (6, 6)),
        ({"backbone": "mlp", "max_pool": True}, "head.weight", (5, 6)),
        ({"backbone": "deep", "max_pool": True}, "convs.7.weight", (6, 6, 3, 3)),
        ({"backbone": "deep", "max_pool": True, "per_step_bn": True}, "norms.7.weight", (5, 6)),
        ({"backbone": "resnet12", "max_pool": True}, "head.weight", (5, 60)),
        ({"backbone": "resnet12", "max_pool": True, "per_step_bn": True}, "blocks.1.norms.3.weight", (5, 15)),
    ],
)
def test_the_network_is_the_one_the_configuration_names(
    changes: dict[str, Any], name: str, shape: tuple[int, ...]
) -> None:
    model = build(dataclasses.replace(Config(filters=6, max_pool=False), **changes), (3, 32, 32))
    assert model.state_dict()[name].shape == shape
