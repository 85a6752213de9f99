"""The exercises of notebook 07."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned


@exercise(
    "7.1",
    "rate_gradient(query_gradients, inner_gradients)",
    "One number for each tensor: multiply the two gradients entry by entry, and add up.",
    "The step subtracts rate * inner gradient, so the derivative of theta' with respect to the rate is minus the inner "
    "gradient.",
    "return torch.stack([-(q * g).sum() for q, g in zip(query_gradients, inner_gradients)])",
)
def check_rate_gradient(rate_gradient: Callable[[list[Tensor], list[Tensor]], Tensor]) -> None:
    """Accept any function that returns minus the inner product of each tensor."""
    query = [torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([3.0, 1.0])]
    inner = [torch.tensor([[2.0, 1.0], [5.0, 1.0]]), torch.tensor([-1.0, 2.0])]
    right = torch.tensor([-3.0, 1.0])  # -(2 + 2 + 0 - 1), -(-3 + 2)
    got = torch.as_tensor(returned(rate_gradient(query, inner)))
    require(got.shape != (), "it returns one number for all tensors; each tensor has a rate of its own.")
    require(got.shape == (2,), f"for 2 tensors the result has shape {list(got.shape)}; [2] is right.")
    require(
        not torch.allclose(got, -right),
        "the sign is wrong: where both gradients agree a larger rate lowers the query loss, so this is negative.",
    )
    cosines = torch.stack([-torch.cosine_similarity(q.flatten(), g.flatten(), 0) for q, g in zip(query, inner)])
    require(not torch.allclose(got, cosines), "that is the cosine; the lengths of the gradients count as well.")
    means = torch.stack([-(q * g).mean() for q, g in zip(query, inner)])
    require(not torch.allclose(got, means), "it takes the mean over the entries; the chain rule adds them up.")
    require(torch.allclose(got, right), f"it gives {got.tolist()}; a finite difference gives {right.tolist()}.")


@exercise(
    "7.2",
    "tie_layers(gradient, rows)",
    "The layer of a row is its name without the last part: row.rsplit('.', 1)[0].",
    "One shared rate moves both tensors of its layer, so by the chain rule its gradient is the sum of theirs.",
    "Both rows of a layer get that sum: torch.stack([gradient[[i for i, other in enumerate(rows) if "
    "layer(other) == layer(row)]].sum(0) for row in rows])",
)
def check_tie_layers(tie_layers: Callable[[Tensor, Sequence[str]], Tensor]) -> None:
    """Accept any function that gives each row the sum over the rows of its layer."""
    rows = ("convs.0.weight", "convs.0.bias", "convs.1.weight", "convs.1.bias", "head.weight", "head.bias")
    gradient = torch.tensor([[1.0, 2.0], [0.5, 0.0], [-1.0, 4.0], [3.0, 1.0], [2.0, 2.0], [-2.0, 8.0]])
    sums = torch.tensor([[1.5, 2.0], [2.0, 5.0], [0.0, 10.0]])
    right = sums.repeat_interleave(2, 0)
    given = gradient.clone()
    got = returned(tie_layers(gradient, rows))
    require(torch.equal(gradient, given), "it changed the gradient it was given; return a new one.")
    require(
        got.shape != sums.shape,
        "it has one row for each layer; the table keeps its rows, so both rows of a layer get the sum.",
    )
    require(got.shape == right.shape, f"the result has shape {list(got.shape)}; {list(right.shape)} is right.")
    require(not torch.allclose(got, right / 2), "it takes the mean of the two rows; the chain rule gives their sum.")
    by_kind = torch.stack([gradient[i % 2 :: 2].sum(0) for i in range(6)])
    require(not torch.allclose(got, by_kind), "it ties all weights, and all biases; tie the rows of one layer.")
    by_prefix = torch.cat([gradient[:4].sum(0).expand(4, 2), gradient[4:].sum(0).expand(2, 2)])
    require(not torch.allclose(got, by_prefix), "it ties all convolutions; convs.0 and convs.1 are two layers.")
    require(torch.allclose(got, right), "a row is not the sum over the rows of its layer.")
