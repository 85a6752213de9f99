"""``check`` and ``hint`` for the exercises of the notebooks; one module for the exercises of each notebook."""

from mamlkit.course import few_shot_episodes, maml_from_scratch, welcome
from mamlkit.course.exercise import check, hint

__all__ = ["check", "few_shot_episodes", "hint", "maml_from_scratch", "welcome"]
