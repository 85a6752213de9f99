"""A start adapted to one picture of each class, and its predictions for single query pictures.

Axis letters: ``K`` inner steps, ``N`` classes, ``Q`` query pictures.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError, check_choice
from mamlkit.core.inner_loop import adapt
from mamlkit.core.methods import check_inner_loop
from mamlkit.core.problem import MetaParams
from mamlkit.core.schedules import eval_config
from mamlkit.core.transforms import Params
from mamlkit.training.evaluation import NORMS
from mamlkit.training.learner import MetaLearner

NEAREST = "nearest neighbour"  # the baseline that starts are compared with


class Classifier:
    """Adapt a start to N pictures, one of each class, on its device; keep the parameters after every inner step.

    With fewer classes than in training, the head keeps its first N rows.

    Args:
        learner: the start; it is not changed.
        support: [N, C, H, W] one picture of each class, in [0, 1]; N is at least 2 and at most the start's number of
            classes.

    Attributes:
        steps: the parameters after 0..K inner steps.

    Raises:
        InputError: there are too few or too many classes, or the start has no inner loop.

    Source: section 3 of the paper (adaptation).
    """

    def __init__(self, learner: MetaLearner, support: Tensor) -> None:
        check_inner_loop(learner.config, "a classifier of drawings")
        most = len(learner.params["head.bias"])
        if not 2 <= len(support) <= most:
            raise InputError(f"there are {len(support)} classes; this start serves 2 to {most}")
        self.learner, self.support = learner, support.to(learner.params["head.bias"])
        labels = torch.arange(len(support), device=self.support.device)
        episode = Episode(self.support, labels, self.support[:0], labels[:0])
        rule = {  # a rate for each number goes with its number
            name: _fewer_classes(value, len(support)) if isinstance(value, dict) else value
            for name, value in learner.rule_tensors.items()
        }
        meta = MetaParams(_fewer_classes(learner.params, len(support)), rule)
        settings = eval_config(learner.config, "batch")
        with torch.no_grad():
            moved = adapt(learner.problem.at_evaluation, meta, learner.buffers, episode, settings)
            self.steps = [meta.model, *(step.params for step in moved)]

    @property
    def n_steps(self) -> int:
        """The number of inner steps, K."""
        return len(self.steps) - 1

    def probabilities(self, queries: Tensor, norm: str = "batch") -> Tensor:
        """Return the class probabilities of each query picture after every step, [Q, K + 1, N]; see ``after``."""
        return torch.stack([self.after(step, queries, norm) for step in range(len(self.steps))], 1)

    def after(self, step: int, queries: Tensor, norm: str = "batch") -> Tensor:
        """Return the class probabilities of each query picture after ``step`` inner steps, [Q, N].

        Each answer is independent of the other query pictures. ``norm = "batch"`` normalises a query picture together
        with the N support pictures, as many pictures as in training; ``"running"`` uses the recorded statistics.

        Args:
            step: 0 to K.
            queries: [Q, C, H, W] in [0, 1].
            norm: ``"batch"`` or ``"running"``.

        Raises:
            InputError: ``norm`` is unknown.
        """
        check_choice("norm", norm, NORMS)
        queries = queries.to(self.support)
        if norm == "running":
            return self._shares(step, queries, norm)
        together = [torch.cat([self.support, query[None]]) for query in queries]  # Q of [N + 1, C, H, W]
        rows = [self._shares(step, images, norm)[-1] for images in together]
        return torch.stack(rows) if rows else self.support.new_empty(0, len(self.support))

    def _shares(self, step: int, images: Tensor, norm: str) -> Tensor:
        row = max(step - 1, 0)  # row of the per-step tables; step 0 uses row 0
        with torch.no_grad():
            problem = self.learner.problem.at_evaluation
            logits, _ = problem.forward(self.steps[step], self.learner.buffers, images, row, norm)
        shares: Tensor = logits.softmax(-1)
        return shares


def nearest(support: NDArray[np.uint8], query: NDArray[np.uint8]) -> int:
    """Return the index of the support picture with the smallest squared pixel difference from a query picture.

    Args:
        support: [N, H, W].
        query: [H, W].
    """
    return int(((support.astype(int) - query) ** 2).sum((1, 2)).argmin())


def _fewer_classes(params: Params, n_way: int) -> Params:
    return {name: value[:n_way] if name.startswith("head.") else value for name, value in params.items()}
