"""``check`` and ``hint`` for the exercises of the notebooks, one module for each notebook."""

from mamlkit.show.course import (
    batch_norm,
    derivative_order,
    exploding_gradients,
    extend_it,
    few_shot_episodes,
    learning_rates,
    maml_from_scratch,
    maml_plus_plus,
    multi_step_loss,
    reproduce,
    welcome,
    your_own_data,
)
from mamlkit.show.course.exercise import check, hint

__all__ = [
    "batch_norm",
    "check",
    "derivative_order",
    "exploding_gradients",
    "extend_it",
    "few_shot_episodes",
    "hint",
    "learning_rates",
    "maml_from_scratch",
    "maml_plus_plus",
    "multi_step_loss",
    "reproduce",
    "welcome",
    "your_own_data",
]
