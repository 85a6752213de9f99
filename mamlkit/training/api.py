"""The names that ``from mamlkit import ...`` gives; ``mamlkit`` imports this module when the first of them is used."""

from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, EpisodeSampler, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import adapt, inner_loop
from mamlkit.core.outer_loop import MetaStep, meta_gradient
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.recipes import RECIPES, configure
from mamlkit.core.schedules import StepConfig
from mamlkit.core.trace import InnerTrace
from mamlkit.training.evaluation import Evaluation, evaluate
from mamlkit.training.history import EpochRecord
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import Trainer

__all__ = [
    "RECIPES",
    "Config",
    "Episode",
    "EpisodeSampler",
    "EpochRecord",
    "Evaluation",
    "ImageStore",
    "InnerTrace",
    "InputError",
    "MetaLearner",
    "MetaParams",
    "MetaStep",
    "Problem",
    "StepConfig",
    "Trainer",
    "adapt",
    "configure",
    "evaluate",
    "inner_loop",
    "meta_gradient",
]
