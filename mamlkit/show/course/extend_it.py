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
    "pulled(gradients, params, start, strength)",
    "The pull on a parameter is the strength times its distance from the start: params[name] - start[name].",
    "Build a new dictionary, and use the tensors without detach(): the outer loop differentiates through all of them.",
    "return {name: gradients[name] + strength * (params[name] - start[name]) for name in params}",
)
def check_pulled(pulled: Callable[[Params, Params, Params, float], Params]) -> None:
    """Accept any pure function that adds the pull towards the start and keeps the graph."""
    leaf = torch.tensor([1.0, -2.0], requires_grad=True)
    start = {"head.weight": leaf, "head.bias": torch.tensor([1.0])}
    params = {"head.weight": 3.0 * leaf, "head.bias": torch.tensor([3.0])}
    gradients = {"head.weight": leaf**2, "head.bias": torch.tensor([0.5])}
    before = {name: g.detach().clone() for name, g in gradients.items()}
    got = returned(pulled(gradients, params, start, 0.1))
    same = all(torch.equal(gradients[name], g) for name, g in before.items())
    require(same, "it changed the gradients it was given; return new ones.")
    named = isinstance(got, dict) and got.keys() == params.keys()
    require(named, "the result should be a dictionary with the names of the parameters.")
    weight, bias, way = got["head.weight"].detach(), float(got["head.bias"]), 2 * leaf.detach()  # params - start
    g, here = before["head.weight"], params["head.weight"].detach()
    wrong = {
        "the sign is wrong: a step goes against the gradient, so this pushes away from the start.": g - 0.1 * way,
        "that pulls towards 0, as weight decay does; subtract the start.": g + 0.1 * here,
        "that is a parameter after a step; return the changed gradient.": here - 0.1 * way,
        "the pull is twice too strong: the derivative of strength / 2 d^2 is strength * d.": g + 0.2 * way,
    }
    for sentence, value in wrong.items():
        require(not torch.allclose(weight, value), sentence)
    given = "for gradient [1, 4], parameter [3, -6], start [1, -2] and strength 0.1,"
    require(torch.allclose(weight, g + 0.1 * way), f"{given} [1.2, 3.6] is right; this returns {weight.tolist()}.")
    require(abs(bias - 0.7) < 1e-6, f"head.bias should have 0.7, the weight is right; it has {bias:g}.")
    require(got["head.weight"].requires_grad, "the result has lost its graph; the outer loop needs it.")
    [slope] = torch.autograd.grad(got["head.weight"].sum(), leaf)  # of leaf^2 + 0.1 (3 leaf - leaf)
    whole = torch.allclose(slope, 2 * leaf.detach() + 0.2)
    require(whole, "a part was detached; the outer loop differentiates through gradient, parameter and start.")


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
    shared = bool((got >= 0).all()) and torch.allclose(got.sum(1), torch.ones(2))
    require(not shared, "these are probabilities; return the logits, before the softmax.")
    lacking = torch.allclose(got, query.square().sum(1, keepdim=True) - squares)
    require(not lacking, "the probabilities are right, but the square of the query is missing in the distance.")
    by_order = torch.stack([support[:2].mean(0), support[2:4].mean(0), support[4:].mean(0)])
    mixed = torch.allclose(got, -torch.cdist(query, by_order).square(), atol=1e-4)
    require(not mixed, "the support inputs of a class need not stand together: choose them by their labels.")
    sums = torch.stack([support[labels == n].sum(0) for n in range(3)])
    summed = torch.allclose(got, -torch.cdist(query, sums).square(), atol=1e-4)
    require(not summed, "a prototype is the mean of its class, not the sum.")
    near = torch.allclose(got, -squares, atol=1e-3)
    shown = [[round(value, 2) for value in row] for row in got.tolist()]
    require(near, f"the logits of the test's queries are {(-squares).tolist()}; it gives {shown}.")
