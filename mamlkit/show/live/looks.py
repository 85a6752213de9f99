"""A look at a start under training: what one fixed task makes of it.

Axis letters: ``K`` inner steps, ``L`` layers, ``N`` way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mamlkit.core.episodes import Episode
from mamlkit.core.schedules import StepConfig, last_step_only
from mamlkit.core.unrolled import layer_norms, meta_gradients_by_step
from mamlkit.show.live.classifier import Classifier
from mamlkit.training.diagnostics import bn_drift, trace_batch
from mamlkit.training.learner import MetaLearner


class Look(NamedTuple):
    """What one fixed task shows of a start.

    Attributes:
        at: meta-iterations done before it.
        norms: [K + 1] l2 norm of the gradient, with respect to the start, of the query loss after 0..K inner steps.
        drift: [L] how far the query pass's batch statistics after the last step are from the support set's before any,
            by layer; standard deviations, see ``mamlkit.training.diagnostics.bn_drift``.
        probabilities: [N] of one query drawing after the last step.
    """

    at: int
    norms: NDArray[Any]
    drift: NDArray[Any]
    probabilities: NDArray[Any]


def look(learner: MetaLearner, task: Episode, query: int, *, at: int) -> Look:
    """Adapt a learner to a task and measure what ``Look`` has.

    The gradients are exact also while the training's own are of first order, so that they can be compared all along.

    Args:
        learner: only read.
        task: on the learner's device, ordered by class.
        query: which of the task's query drawings.
        at: meta-iterations done.

    Pure: nothing is changed.
    """
    exact = StepConfig(last_step_only(learner.config.n_steps))
    gradients = meta_gradients_by_step(learner.problem, learner.meta, learner.buffers, task, exact)
    rows = bn_drift(trace_batch(learner, Episode(*(x[None] for x in task))))
    last = max(row["step"] for row in rows)
    drift = [row["shift"] for row in rows if row["step"] == last and row["pass"] == "query"]
    classifier = Classifier(learner, task.support_x[:: learner.config.k_shot])  # one drawing of each class
    [shares] = classifier.after(classifier.n_steps, task.query_x[query : query + 1])
    return Look(at, layer_norms(gradients)["total"].cpu().numpy(), np.array(drift), shares.cpu().numpy())
