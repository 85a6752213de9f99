"""The exercises of notebook 11: right answers pass, and each wrong one is told what is wrong."""

from __future__ import annotations

import pytest
import torch
from exercises import assert_right, assert_told


def in_two_guesses(outputs, targets):
    return (outputs.topk(2).indices == targets[:, None]).any(1).double().mean()


def hits(outputs, targets):
    return outputs.topk(2).indices == targets[:, None]


def pulled(gradients, params, start, strength):
    return {name: gradients[name] + strength * (params[name] - start[name]) for name in params}


def in_place(gradients, params, start, strength):
    with torch.no_grad():
        for name in params:
            gradients[name] += strength * (params[name] - start[name])
    return gradients


def detached(gradients, params, start, strength):
    return {name: gradients[name] + strength * (params[name].detach() - start[name]) for name in params}


def without_graph(gradients, params, start, strength):
    return {name: value.detach() for name, value in pulled(gradients, params, start, strength).items()}


def logits_to(prototypes, query):
    return -(query[:, None] - prototypes).square().sum(-1)


def prototype_logits(support, labels, query, n_way):
    return logits_to(torch.stack([support[labels == n].mean(0) for n in range(n_way)]), query)


def by_cdist(support, labels, query, n_way):
    means = torch.stack([support[labels == n].mean(0) for n in range(n_way)])
    return -torch.cdist(query, means).square()


def of_sums(support, labels, query, n_way):
    return logits_to(torch.stack([support[labels == n].sum(0) for n in range(n_way)]), query)


def by_order(support, labels, query, n_way):
    return logits_to(support.reshape(n_way, -1, support.shape[1]).mean(1), query)


def of_first(support, labels, query, n_way):
    return logits_to(torch.stack([support[labels == n][0] for n in range(n_way)]), query)


RIGHT = [
    ("11.1", in_two_guesses),
    ("11.1", lambda outputs, targets: float(in_two_guesses(outputs, targets))),
    ("11.1", lambda outputs, targets: hits(outputs, targets).sum() / len(targets)),
    ("11.2", pulled),
    ("11.2", lambda g, p, s, c: {name: torch.add(g[name], p[name] - s[name], alpha=c) for name in g}),
    ("11.3", prototype_logits),
    ("11.3", by_cdist),
]
WRONG = [
    ("11.1", lambda outputs, targets: hits(outputs, targets).any(1), "is one number"),
    ("11.1", lambda outputs, targets: hits(outputs, targets).sum(), "that is a count"),
    ("11.1", lambda outputs, targets: (outputs.argmax(1) == targets).double().mean(), "of one guess"),
    ("11.1", lambda outputs, targets: hits(outputs, targets)[:, 1].double().mean(), "only the second guess"),
    ("11.1", lambda outputs, targets: hits(outputs, targets).double().mean(), "any of the two"),
    ("11.1", lambda outputs, targets: 1.0, "three of four"),
    ("11.2", in_place, "changed the gradients"),
    ("11.2", lambda g, p, s, c: list(g.values()), "a dictionary"),
    ("11.2", lambda g, p, s, c: {"head.weight": g["head.weight"]}, "the names of the parameters"),
    ("11.2", lambda g, p, s, c: pulled(g, p, s, -c), "the sign is wrong"),
    ("11.2", lambda g, p, s, c: {name: g[name] + c * p[name] for name in p}, "subtract the start"),
    ("11.2", lambda g, p, s, c: {name: p[name] - c * (p[name] - s[name]) for name in p}, "that is a parameter"),
    ("11.2", lambda g, p, s, c: pulled(g, p, s, 2 * c), "twice too strong"),
    ("11.2", lambda g, p, s, c: g, r"for gradient [1, 4], parameter [3, -6], start [1, -2] and strength 0.1"),
    ("11.2", lambda g, p, s, c: {**g, "head.weight": pulled(g, p, s, c)["head.weight"]}, "head.bias should have"),
    ("11.2", without_graph, "lost its graph"),
    ("11.2", detached, "a part was detached"),
    ("11.3", lambda s, y, q, n: prototype_logits(s, y, q, n).T, "turned"),
    ("11.3", lambda s, y, q, n: prototype_logits(s, y, q, 2), "[2, 3] is right"),
    ("11.3", lambda s, y, q, n: -prototype_logits(s, y, q, n), "logits need the largest"),
    ("11.3", lambda s, y, q, n: -((-prototype_logits(s, y, q, n)) ** 0.5), "the paper takes their squares"),
    ("11.3", lambda s, y, q, n: prototype_logits(s, y, q, n).softmax(1), "before the softmax"),
    ("11.3", lambda s, y, q, n: prototype_logits(s, y, q, n) + q.square().sum(1, keepdim=True), "query is missing"),
    ("11.3", by_order, "by their labels"),
    ("11.3", of_sums, "not the sum"),
    ("11.3", of_first, "the logits of the test's queries"),
]


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_a_right_answer_is_accepted(number: str, answer, capsys) -> None:
    assert_right(number, answer, capsys)


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(number: str, answer, message: str, capsys) -> None:
    assert_told(number, answer, message, capsys)
