"""The exercises of notebook 06."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned


@exercise(
    "6.1",
    "normalise(x, mean, var, weight, bias)",
    "Mean, var, weight and bias are [C] and x is [B, C, H, W]: reshape them to [C, 1, 1].",
    "(x - mean) / (var + 1e-5) ** 0.5 has mean 0 and deviation 1; then stretch by weight and shift by bias.",
)
def check_normalise(normalise: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Accept any function that computes batch norm with the given statistics."""
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.rand(2, 4, 4, 4, generator=generator) + 1
    mean, var, weight, bias = (torch.rand(4, generator=generator) + 0.5 for _ in range(4))
    got = torch.as_tensor(returned(normalise(x, mean, var, weight, bias)))
    require(got.shape == x.shape, f"the result has shape {list(got.shape)}; {list(x.shape)} is right.")

    def expected(along: tuple[int, ...], scale: Tensor) -> Tensor:
        return (x - mean.reshape(along)) / scale.reshape(along) * weight.reshape(along) + bias.reshape(along)

    deviation = (var + 1e-5).sqrt()
    require(
        not torch.allclose(got, expected((1, 1, 4), deviation), atol=1e-4),
        "the statistics were taken along the width of the image; they belong to the channels, the second axis.",
    )
    require(
        not torch.allclose(got, expected((4, 1, 1), var + 1e-5), atol=1e-4),
        "it divides by the variance; divide by its square root, the standard deviation.",
    )
    own = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)
    require(
        not torch.allclose(got, own, atol=1e-4),
        "it normalises by the batch's own statistics; use the given mean and var.",
    )
    require(
        torch.allclose(got, expected((4, 1, 1), deviation), atol=1e-4),
        "it is not weight * (x - mean) / sqrt(var + 1e-5) + bias.",
    )


@exercise(
    "6.2",
    "record(running, batch, step, momentum)",
    "running is [K, C] and batch is [C]: only the row of this step changes.",
    "new = running.clone(); new[step] = (1 - momentum) * running[step] + momentum * batch",
)
def check_record(record: Callable[[Tensor, Tensor, int, float], Tensor]) -> None:
    """Accept any pure function that merges a batch's statistics into the row of one step."""
    running = torch.arange(12, dtype=torch.float64).reshape(3, 4)
    batch, before = torch.full((4,), 100.0, dtype=torch.float64), running.clone()
    got = torch.as_tensor(returned(record(running, batch, 1, 0.1)))
    require(torch.equal(running, before), "it changed the table it was given; return a new one.")
    require(got.shape == (3, 4), f"the result has shape {list(got.shape)}; the whole table, [3, 4], is right.")
    others = torch.equal(got[0], before[0]) and torch.equal(got[2], before[2])
    require(others, "the rows of other steps changed; each step records into its own row.")
    swapped = torch.allclose(got[1], 0.1 * before[1] + 0.9 * batch)
    require(not swapped, "momentum is the share of the new batch; the two shares are swapped.")
    require(
        torch.allclose(got[1], 0.9 * before[1] + 0.1 * batch),
        "row 1 is not (1 - momentum) * running + momentum * batch.",
    )
