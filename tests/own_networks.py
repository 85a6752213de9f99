"""Networks as a user might write them; the tests copy this file into a folder of its own."""

import torch
from torch import nn
from torch.nn import functional as F

from mamlkit import Problem
from mamlkit.core.networks import MLP


class Recurrent(nn.Module):
    def __init__(self, size, n_way):
        super().__init__()
        self.rows = nn.GRU(size, 6, batch_first=True)
        self.head = nn.Linear(6, n_way)

    def forward(self, x):
        return self.head(self.rows(x.flatten(1, 2))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self, size, n_way):
        super().__init__()
        self.rows = nn.TransformerEncoderLayer(size, 2, 8, dropout=0.2, batch_first=True)
        self.head = nn.Linear(size, n_way)

    def forward(self, x):
        return self.head(self.rows(x.flatten(1, 2)).mean(1))


def recurrent(config, image_shape):
    return Recurrent(image_shape[-1], config.n_way)


def attentive(config, image_shape):
    return Attentive(image_shape[-1], config.n_way)


def one_against_all(config, image_shape):
    """A problem with a loss and a metric of its own."""

    def hamming(outputs, y):
        return ((outputs > 0) == F.one_hot(y, config.n_way)).float().mean()

    def loss(outputs, y):
        return F.binary_cross_entropy_with_logits(outputs, F.one_hot(y, config.n_way).to(outputs))

    return Problem(nn.Sequential(nn.Flatten(), nn.Linear(image_shape[-1] ** 2, config.n_way)), loss, metric=hamming)


def number(config, image_shape):
    return 3


def failing(config, image_shape):
    raise RuntimeError("no such size")


class Counting(nn.Module):
    def __init__(self, size, n_way):
        super().__init__()
        self.head = nn.Linear(size**2, n_way)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        return self.head(x.flatten(1))


def counting(config, image_shape):
    return Counting(image_shape[-1], config.n_way)


def own_problem(config, image_shape):
    return Problem(recurrent(config, image_shape))


def leaving(config, image_shape):
    raise SystemExit("no\nlicence")


def each_loss(config, image_shape):
    """A network of mamlkit with a loss that is no scalar."""
    network = MLP(image_shape[-1] ** 2, config.n_way)
    return Problem(network, lambda outputs, y: F.cross_entropy(outputs, y, reduction="none"))


def too_small(config, image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, config.n_way))


def one_output(config, image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[-1] ** 2, 1))
