"""Recipes of other methods, for comparison with MAML; each is a difference from ``maml``."""

from __future__ import annotations

from dataclasses import replace

from mamlkit.core.config import Config


def meta_sgd(base: Config) -> Config:
    """Meta-SGD: learn an inner rate for each number of each tensor, the same at every step, sign included.

    Li, Zhou, Chen and Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", arXiv:1707.09835; protocol
    as ``maml``. The paper has one inner step and random initial rates in [0.005, 0.1]; here they are ``inner_lr``.
    """
    return replace(base, learn_inner_lrs=True, inner_lr_per="number")


def reptile(base: Config) -> Config:
    """Reptile: move the start towards the end of the inner loop, without a derivative through it.

    Nichol, Achiam and Schulman 2018, "On First-Order Meta-Learning Algorithms", arXiv:1803.02999, in batches of tasks.
    As in the paper, a task has more images in training than at evaluation, the inner loop adapts to support and query
    images in minibatches, and evaluation takes more inner steps. Unlike the paper, Adam takes the outer steps, and the
    values are those that learned well on glyphs within minutes.
    """
    return replace(
        base,
        method="reptile",
        second_order=False,
        adapt_norms=True,
        outer_lr=3e-3,
        q_query=max(9, 2 * base.k_shot),
        n_steps=10,
        eval_steps=20,
    )


def protonet(base: Config) -> Config:
    """Prototypical networks: learn an embedding in which the nearest class mean classifies; there is no inner loop.

    Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", arXiv:1703.05175: squared Euclidean
    distances. Protocol as ``maml``, so a training task has the numbers of classes and images of a test task; the paper
    trains with more classes (set ``n_way``).
    """
    return replace(base, method="protonet", second_order=False, n_steps=1)
