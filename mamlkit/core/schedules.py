"""Schedules, as pure functions of the epoch: no counters, no state.

To add a scheduled fix: write its function here, and call it in ``step_config`` or ``outer_lr``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mamlkit.core.config import Config

MSL_FLOOR = 0.03  # an early step's weight never falls below this share of 1/K (authors' code)


@dataclass(frozen=True)
class StepConfig:
    """Settings of one meta-iteration.

    Attributes:
        loss_weights: weight of the query loss after each inner step, [K] floats that sum to 1. There is a query pass
            only after steps with a weight other than 0.
        second_order: differentiate through the inner gradient.
        track_query: run a query pass after every step; the extra passes serve only the trace.
        norm: ``"batch"`` normalises the query set with its own statistics, ``"running"`` with the recorded statistics.
    """

    loss_weights: tuple[float, ...]
    second_order: bool = True
    track_query: bool = False
    norm: str = "batch"


def msl_weights(n_steps: int, epoch: int, msl_epochs: int) -> tuple[float, ...]:
    """Return the multi-step-loss weights of an epoch.

    All K weights start at 1/K; over ``msl_epochs`` epochs the first K-1 decrease linearly, and the last increases by
    the same total. Early weights keep at least 3 % of 1/K.

        w_i = max(1/K - e / (K E), 0.03 / K)  for i < K-1,    w_{K-1} = 1 - sum of the others

    Args:
        n_steps: K, inner steps, at least 1.
        epoch: e, from 0.
        msl_epochs: E, epochs of the ramp; 0 starts at the end of the ramp.

    Returns:
        K floats that sum to 1.

    Source: section 4 of the paper says that the weights are annealed and gives no formula; the formula is from the
    authors' code.

    >>> msl_weights(5, 0, 10)
    (0.2, 0.2, 0.2, 0.2, 0.2)
    >>> [round(w, 3) for w in msl_weights(5, 9, 10)]
    [0.02, 0.02, 0.02, 0.02, 0.92]
    >>> msl_weights(1, 3, 10)
    (1.0,)
    """
    progress = epoch / msl_epochs if msl_epochs > 0 else 1.0
    early = max((1.0 - progress) / n_steps, MSL_FLOOR / n_steps)
    last = 1.0 / n_steps if epoch == 0 and msl_epochs > 0 else 1.0 - (n_steps - 1) * early
    return (early,) * (n_steps - 1) + (last,)


def last_step_only(n_steps: int) -> tuple[float, ...]:
    """Return the weights of plain MAML: only the query loss after the last step counts.

    >>> last_step_only(3)
    (0.0, 0.0, 1.0)
    """
    return (0.0,) * (n_steps - 1) + (1.0,)


def cosine_lr(epoch: int, epochs: int, start: float, end: float) -> float:
    """Return the outer rate of an epoch, on half a cosine from ``start`` at 0 to ``end`` at ``epochs``.

    Source: section 4 of the paper (cosine annealing); constant within an epoch as in the authors' code.

    >>> cosine_lr(0, 100, 1e-3, 1e-5)
    0.001
    >>> round(cosine_lr(50, 100, 1e-3, 1e-5), 9)
    0.000505
    >>> cosine_lr(100, 100, 1e-3, 1e-5)
    1e-05
    """
    return end + (start - end) * (1.0 + math.cos(math.pi * epoch / epochs)) / 2.0


def outer_lr(config: Config, epoch: int) -> float:
    """Return the outer learning rate of an epoch."""
    if not config.cosine_lr:
        return config.outer_lr
    return cosine_lr(epoch, config.epochs, config.outer_lr, config.min_outer_lr)


def step_config(config: Config, epoch: int) -> StepConfig:
    """Return the meta-iteration's settings in an epoch of training.

    Shares of the configuration are rounded to whole epochs, at least 1 if the share is not 0, so that a schedule scales
    with the run. The paper's 50 first-order epochs of 150 are ``first_order_share = 1/3``.

    Source: section 4 of the paper (multi-step loss, derivative-order annealing).
    """
    msl_epochs, first_order_epochs = (_share(x, config.epochs) for x in (config.msl_share, config.first_order_share))
    multi_step = config.multi_step_loss and epoch < msl_epochs
    weights = msl_weights(config.n_steps, epoch, msl_epochs) if multi_step else last_step_only(config.n_steps)
    second_order = config.second_order and epoch >= first_order_epochs
    return StepConfig(loss_weights=weights, second_order=second_order, norm=config.norm_train)


def _share(share: float, epochs: int) -> int:
    return max(1, round(share * epochs)) if share else 0


def eval_config(config: Config, norm: str, *, track_query: bool = False) -> StepConfig:
    """Return the settings of evaluation: first-order, only the last step's query pass, normalised by ``norm``."""
    weights = last_step_only(config.eval_steps or config.n_steps)
    return StepConfig(weights, second_order=False, track_query=track_query, norm=norm)
