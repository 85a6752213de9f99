"""A meta-iteration of one engine on one batch, as a function that can be called repeatedly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.schedules import step_config
from mamlkit.datasets import load
from mamlkit.study.bench import naive
from mamlkit.study.bench.workloads import EPOCH
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import make_sampler


class UnavailableError(InputError):
    """An engine cannot run on this machine; the message gives the reason."""


class Iteration:
    """Run the forward pass, the meta-gradient and Adam's step; each call does so once.

    Args:
        engine: a name in ``mamlkit.study.bench.workloads.ENGINES``.
        config: configuration of the work; its ``engine`` is ignored.
        on_part: see ``mamlkit.engines.prepare``.

    Raises:
        UnavailableError: see the class.

    Writes: the cache of compiled code, if the engine needs compiled code.
    """

    def __init__(self, engine: str, config: Config, on_part: Callable[[int, int], None] | None = None) -> None:
        sampler = make_sampler(load(config.dataset, image_size=config.image_size), config, "train", training=True)
        self.engine = engine
        asked = "eager" if engine == "naive" else engine
        config = dataclasses.replace(config, engine=asked)
        self.learner = MetaLearner.from_config(config, sampler.image_shape)
        self.batch = self.learner.to_device(sampler.batch(0, config.n_tasks))
        choice = self.learner.choose_engine(self.batch, on_part=on_part)
        if choice.engine != asked:
            raise UnavailableError(choice.why[-1].split(": ", 1)[-1])

    def __call__(self) -> None:
        """Run one meta-iteration.

        Raises:
            InputError: the meta-gradient is not finite.

        Writes: the learner.
        """
        if not self.learner.apply(self._meta_step(), EPOCH):
            raise InputError(f"the meta-gradient of the engine {self.engine} is not finite")

    def _meta_step(self) -> MetaStep:
        learner = self.learner
        if self.engine != "naive":
            return learner.meta_step(self.batch, EPOCH)
        settings = step_config(learner.config, EPOCH)
        step = naive.meta_gradient(learner.problem, learner.meta, learner.buffers, self.batch, settings)
        return cast(MetaStep, step)  # it has all attributes that the learner's Adam reads


def obstacle(engine: str, config: Config, on_part: Callable[[int, int], None] | None = None) -> str:
    """Return the reason why an engine cannot run here, or nothing; in the second case all its code is compiled.

    Args:
        engine, config, on_part: see ``Iteration``.

    Writes: the cache of compiled code, if the engine needs compiled code.
    """
    try:
        Iteration(engine, config, on_part)
    except UnavailableError as error:
        return str(error)
    return ""
