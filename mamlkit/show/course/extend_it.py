"""The exercises of notebook 11."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mamlkit.show.course.exercise import exercise, require, returned

Params = dict[str, Tensor]


@exercise(
    "11.1",
    "in_two_guesses(outputs, targets)",
    "The two best classes of each input are outputs.topk(2).indices, [Q, 2].",
    "Compare them with targets[:, None]; a guess is right where any of the two is.",
    "return (outputs.topk(2).indices == targets[:, None]).any(1).double().mean()",
)
def check_in_two_guesses(in_two_guesses: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Accept any metric that counts an answer whose class is among the two best."""
    outputs = torch.tensor(
        [[3.0, 2.0, -1.0, -2.0], [0.0, 1.0, 2.0, 3.0], [-3.0, -1.0, -2.0, -4.0], [5.0, 0.1, 0.2, 4.0]]
    )
    targets = torch.tensor([1, 3, 0, 3])
    value = torch.as_tensor(returned(in_two_guesses(outputs, targets)), dtype=torch.float64)
    require(value.dim() == 0, f"a metric is one number; this has shape {list(value.shape)}: take the mean.")
    wrong = {
        3.0: "that is a count; divide by the number of inputs.",
        0.25: "that is the usual accuracy, of one guess.",
        0.5: "only the second guess is counted; the first one counts too.",
        0.375: "each input has two guesses and one right class: ask whether any of the two is right.",
    }
    for number, sentence in wrong.items():
        require(abs(float(value) - number) > 1e-6, sentence)
    require(abs(float(value) - 0.75) < 1e-6, f"three of four are right in two guesses, 0.75; it says {float(value):g}.")


@exercise(
    "11.2",
    "decayed(gradients, params, strength)",
    "Build a new dictionary: each gradient plus the strength times the parameter of the same name.",
    "Use params[name] itself, not params[name].detach(): the outer loop differentiates through it.",
    "return {name: gradients[name] + strength * params[name] for name in params}",
)
def check_decayed(decayed: Callable[[Params, Params, float], Params]) -> None:
    """Accept any pure function that adds the decay and keeps the graph to the parameters and the gradients."""
    start = torch.tensor([1.0, -2.0], requires_grad=True)
    params = {"head.weight": 1.0 * start, "head.bias": torch.tensor([3.0])}
    gradients = {"head.weight": start**2, "head.bias": torch.tensor([0.5])}
    before = {name: g.detach().clone() for name, g in gradients.items()}
    got = returned(decayed(gradients, params, 0.1))
    same = all(torch.equal(gradients[name], g) for name, g in before.items())
    require(same, "it changed the gradients it was given; return new ones.")
    named = isinstance(got, dict) and got.keys() == params.keys()
    require(named, "the result should be a dictionary with the names of the parameters.")
    weight, bias = got["head.weight"].detach(), float(got["head.bias"])
    plain = before["head.weight"] + 0.1 * start.detach()  # [1.1, 3.8]
    grown = torch.allclose(weight, before["head.weight"] - 0.1 * start.detach())
    require(not grown, "the sign is wrong: a step goes against the gradient, so this pushes away from 0.")
    require(not torch.allclose(weight, 0.9 * start.detach()), "that is a parameter; return the changed gradient.")
    doubled = torch.allclose(weight, before["head.weight"] + 0.2 * start.detach())
    require(not doubled, "the pull is twice too strong: the derivative of strength / 2 theta^2 is strength * theta.")
    require(torch.allclose(weight, plain), f"head.weight should have {plain.tolist()}; it has {weight.tolist()}.")
    require(abs(bias - 0.8) < 1e-6, f"head.bias should have 0.8; it has {bias:g}.")
    require(got["head.weight"].requires_grad, "the result has lost its graph; the outer loop needs it.")
    [slope] = torch.autograd.grad(got["head.weight"].sum(), start)  # 2 start + 0.1
    whole = torch.allclose(slope, 2 * start.detach() + 0.1)
    require(whole, "a part was detached; the outer loop differentiates through the gradient and the parameter.")


@exercise(
    "11.3",
    "prototype_logits(support, labels, query, n_way)",
    "First the prototypes: for each class n, the mean of support[labels == n], together [N, D].",
    "Then the squared distance of each query to each prototype, [Q, N]: (query[:, None] - prototypes).square().sum(2).",
    "The nearest prototype needs the largest logit, so return minus the squared distances.",
)
def check_prototype_logits(prototype_logits: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> None:
    """Accept any function that returns minus the squared distances to the class means."""
    support = torch.tensor([[0.0, 0.0], [4.0, 0.0], [2.0, 0.0], [4.0, 2.0], [1.0, 5.0], [3.0, 5.0]])
    labels = torch.tensor([0, 1, 0, 1, 2, 2])  # class means (1, 0), (4, 1) and (2, 5)
    query = torch.tensor([[1.0, 1.0], [4.0, 5.0]])
    squares = torch.tensor([[1.0, 9.0, 17.0], [34.0, 16.0, 4.0]])
    got = torch.as_tensor(returned(prototype_logits(support, labels, query, 3)))
    turned = got.shape == squares.T.shape and torch.allclose(got.to(squares).T, -squares)
    require(not turned, "rows and columns are turned: a row is a query, a column a class.")
    require(got.shape == squares.shape, f"for 2 queries and 3 classes the shape is {list(got.shape)}; [2, 3] is right.")
    got = got.to(squares)
    require(not torch.allclose(got, squares), "the nearest class has the smallest number; logits need the largest.")
    require(not torch.allclose(got, -squares.sqrt()), "these are distances; the paper takes their squares.")
    by_order = torch.stack([support[:2].mean(0), support[2:4].mean(0), support[4:].mean(0)])
    mixed = torch.allclose(got, -torch.cdist(query, by_order).square(), atol=1e-4)
    require(not mixed, "the support inputs of a class need not stand together: choose them by their labels.")
    sums = torch.stack([support[labels == n].sum(0) for n in range(3)])
    summed = torch.allclose(got, -torch.cdist(query, sums).square(), atol=1e-4)
    require(not summed, "a prototype is the mean of its class, not the sum.")
    near = torch.allclose(got, -squares, atol=1e-3)
    require(near, f"the logits of the test's queries are {(-squares).tolist()}; it gives {got.tolist()}.")
