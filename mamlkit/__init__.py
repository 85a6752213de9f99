"""Learn, see and reproduce MAML and MAML++ ("How to train your MAML", Antoniou, Edwards, Storkey, ICLR 2019).

    from mamlkit import Trainer, configure
    from mamlkit.datasets import load

    trainer = Trainer.from_config(configure("mamlpp", n_way=5, k_shot=1), load("glyphs"))
    for record in trainer.epochs():
        print(record.epoch, record.validation.accuracy)

The paper's terms and the names in this package:

    target set                      query set: ``query_x``, ``query_y``
    LSLR, learned inner rates       ``inner_lrs``, a row for each adapted tensor, a column for each inner step
    BNRS, per-step statistics       ``per_step_stats``; buffers ``norms.{i}.running_mean`` and ``running_var`` [K, C]
    BNWB, per-step weights, biases  ``per_step_bn``; parameters ``norms.{i}.weight`` and ``bias`` [K, C]
    MSL, multi-step loss            ``loss_weights``, one for each inner step
    DA, derivative-order annealing  ``second_order``, by epoch
    CA, cosine annealing            ``cosine_lr``
"""

from mamlkit.core.system.openmp import wait_briefly

wait_briefly()  # before torch is loaded

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
__version__ = "0.1.0"
