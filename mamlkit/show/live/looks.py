"""Measurements of a start during training, on one fixed task.

Axis letters: ``K`` inner steps, ``L`` layers, ``N`` way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mamlkit.core.episodes import Episode
from mamlkit.core.schedules import StepConfig, last_step_only
from mamlkit.core.unrolled import layer_grad_norms, meta_gradients_by_step
from mamlkit.show.live.classifier import Classifier
from mamlkit.training.diagnostics import bn_drift, trace_batch
from mamlkit.training.learner import MetaLearner


class Look(NamedTuple):
    """Measurements of a start on one fixed task.

    Attributes:
        at: number of meta-iterations before it.
        norms: [K + 1] l2 norm of the gradient of the query loss after 0..K inner steps, with respect to the start.
        drift: [L] distance between the query pass's batch statistics after the last step and the support set's before
            the first, by layer, in standard deviations; see ``mamlkit.training.diagnostics.bn_drift``.
        probabilities: [N] class probabilities of one query drawing after the last step.
    """

    at: int
    norms: NDArray[Any]
    drift: NDArray[Any]
    probabilities: NDArray[Any]


def look(learner: MetaLearner, task: Episode, query: int, *, at: int) -> Look:
    """Adapt a learner to a task and return the measurements.

    The gradients are exact even while training uses first-order gradients, so that they are comparable throughout.

    Args:
        learner: it is not changed.
        task: on the learner's device, ordered by class.
        query: index of the query drawing.
        at: number of finished meta-iterations.
    """
    exact = StepConfig(last_step_only(learner.config.n_steps))
    gradients = meta_gradients_by_step(learner.problem, learner.meta, learner.buffers, task, exact)
    rows = bn_drift(trace_batch(learner, Episode(*(x[None] for x in task))))
    last = max(row["step"] for row in rows)
    drift = [row["shift"] for row in rows if row["step"] == last and row["pass"] == "query"]
    classifier = Classifier(learner, task.support_x[:: learner.config.k_shot])  # one drawing of each class
    [shares] = classifier.after(classifier.n_steps, task.query_x[query : query + 1])
    return Look(at, layer_grad_norms(gradients)["total"].cpu().numpy(), np.array(drift), shares.cpu().numpy())
