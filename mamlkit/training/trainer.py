"""The training loop of notebooks, command line, live pages and tests.

``Trainer.iterations()`` is a generator, and so is ``Trainer.epochs()``, which adds validation. The caller decides what
to show, when to save and when to stop.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterator

import torch

from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, EpisodeSampler, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.metrics import accuracy, check_metric
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.problem import Problem
from mamlkit.core.randomness import drawn_from
from mamlkit.core.schedules import outer_lr, step_config
from mamlkit.training import on_device
from mamlkit.training.evaluation import evaluate
from mamlkit.training.history import EpochRecord, Iteration, best_epochs
from mamlkit.training.learner import MetaLearner
from mamlkit.training.parallel import ALONE, Ranks
from mamlkit.training.prefetch import Sampler, draw, prefetch


def make_sampler(store: ImageStore, config: Config, split: str, *, training: bool = False) -> EpisodeSampler:
    """Return the sampler of a split with the settings of a configuration, for evaluation or for training.

    Raises:
        InputError: the split cannot supply these episodes.
    """
    turned_in_training_only = config.rotation == "episodes" and not training
    return EpisodeSampler(
        store,
        split,
        n_way=config.n_way,
        k_shot=config.k_shot,
        q_query=config.q_query if training else config.eval_query,
        seed=config.seed,
        rotation="none" if turned_in_training_only else config.rotation,
    )


class Trainer:
    """Train a meta-learner on one sampler and validate it on another.

    Args:
        learner: the learner to train.
        train: training episodes; iteration ``i`` takes ``n_tasks`` episodes from ``i * n_tasks`` on, so none repeats.
        val: validation episodes, the same after each epoch.
        ranks: the processes over which each meta-batch and the validation are split, see ``mamlkit.training.parallel``;
            all of them train, with the same resulting weights and history.
        on_part: called while the engine compiles, see ``mamlkit.engines.prepare``.

    Attributes:
        history: the finished epochs.
        current: the finished meta-iterations of the current epoch.
        tasks: this process's tasks of each meta-batch.
        choice: the engine and the reasons for it.

    Raises:
        InputError: ``n_tasks`` cannot be split over the processes; see ``MetaLearner.choose_engine``.

    Source: section 4.2 of the paper (an epoch, validation after each).
    """

    def __init__(
        self,
        learner: MetaLearner,
        train: Sampler,
        val: Sampler,
        *,
        ranks: Ranks = ALONE,
        on_part: Callable[[int, int], None] | None = None,
    ) -> None:
        self.learner, self.train, self.val, self.ranks = learner, train, val, ranks
        self.tasks = ranks.tasks(learner.config.n_tasks)
        self.history: list[EpochRecord] = []
        self.current: list[Iteration] = []
        self._largest: torch.Tensor | None = None
        self.choice = learner.choose_engine(self._batch(0), on_part=on_part)

    @classmethod
    def from_config(
        cls,
        config: Config,
        store: ImageStore,
        *,
        problem: Problem | None = None,
        ranks: Ranks = ALONE,
        on_part: Callable[[int, int], None] | None = None,
    ) -> Trainer:
        """Build the learner and both samplers of a configuration.

        Args:
            config: see ``mamlkit.core.config.Config``.
            store: the data.
            problem: see ``MetaLearner``; None: the configuration's network.
            ranks, on_part: see the class.

        Raises:
            InputError: the data cannot supply the episodes, or the trainer cannot be built.
        """
        train, val = make_sampler(store, config, "train", training=True), make_sampler(store, config, "val")
        learner = MetaLearner(problem or Problem.from_config(config, train.image_shape), config)
        train_near, val_near = (on_device.near(sampler, learner.device) for sampler in (train, val))
        return cls(learner, train_near, val_near, ranks=ranks, on_part=on_part)

    @property
    def stopped_early(self) -> bool:
        """Whether ``patience`` epochs have passed without a better validation."""
        patience = self.learner.config.patience
        return bool(patience and self.history) and len(self.history) - best_epochs(self.history, 1)[0] >= patience

    @property
    def ended(self) -> bool:
        """Whether all epochs are finished, or the training stopped early."""
        return len(self.history) >= self.learner.config.epochs or self.stopped_early

    @property
    def largest_inner_grad_norms(self) -> tuple[tuple[float, ...], ...]:
        """The largest norms of the current epoch so far, see ``EpochRecord``; empty before its first meta-iteration."""
        return () if self._largest is None else tuple(map(tuple, self._largest.tolist()))

    @property
    def done(self) -> int:
        """Number of finished meta-iterations."""
        return len(self.history) * self.learner.config.iterations_per_epoch + len(self.current)

    def iterations(self) -> Generator[Iteration]:
        """Train and yield one meta-iteration after the other, from the first unfinished one to the last of the run.

        Raises:
            InputError: a meta-gradient is not finite and ``on_nonfinite`` is ``"stop"``; the metric is outside [0, 1].

        Writes: the learner, ``current``.
        """
        config = self.learner.config
        left = range(self.done, config.epochs * config.iterations_per_epoch)
        with prefetch(self._batch, left) as batches:
            for index, batch in zip(left, batches):
                iteration = self._iterate(index // config.iterations_per_epoch, index, batch)
                self.current.append(iteration)
                if not iteration.finite and config.on_nonfinite == "stop":
                    raise InputError(
                        f"the meta-gradient of iteration {index + 1} is not finite (meta-loss {iteration.loss:g}), and "
                        f"on_nonfinite is 'stop'; lower inner_lr = {config.inner_lr:g} or outer_lr = "
                        f"{config.outer_lr:g}, set grad_clip, or set on_nonfinite to 'skip'"
                    )
                yield iteration

    def epochs(self, *, on_iteration: Callable[[Iteration], None] | None = None) -> Iterator[EpochRecord]:
        """Train and yield one epoch after the other, from the first that is not in ``history``.

        Args:
            on_iteration: called after each meta-iteration, for a progress bar.

        Raises:
            InputError: see ``iterations``.

        Writes: the learner, ``current``, ``history``.
        """
        config = self.learner.config
        with contextlib.closing(self.iterations()) as iterations:
            while not self.ended:
                begin = time.perf_counter()
                for iteration in itertools.islice(iterations, config.iterations_per_epoch - len(self.current)):
                    if on_iteration is not None:
                        on_iteration(iteration)
                validation = evaluate([self.learner], self.val, config.val_episodes, ranks=self.ranks)
                seconds, number = time.perf_counter() - begin, len(self.history) + 1
                largest = self.largest_inner_grad_norms
                self.history.append(EpochRecord(number, tuple(self.current), validation, seconds, largest))
                self.current, self._largest = [], None
                yield self.history[-1]

    def _batch(self, index: int) -> Episode:
        return draw(self.train, index * self.learner.config.n_tasks + self.tasks.start, len(self.tasks))

    def _iterate(self, epoch: int, index: int, batch: Episode) -> Iteration:
        config = self.learner.config
        numbers, device = (config.seed, index, self.tasks.start), self.learner.device
        with drawn_from(*numbers, device=device) if self.learner.problem.may_draw else contextlib.nullcontext():
            own_step = self.learner.meta_step(batch, epoch)
        meta_step = self.ranks.combine(own_step, self.learner.buffers, step_config(config, epoch))
        if self.learner.problem.metric is not accuracy:
            check_metric(self.learner.problem.metric, meta_step.trace.query_metric[:, -1])
        norms = meta_step.trace.grad_norm.nan_to_num(nan=0.0).amax(0)  # [T, K, n_adapted] -> [K, n_adapted]
        self._largest = norms if self._largest is None else torch.maximum(self._largest, norms)
        finite = self.learner.apply(meta_step, epoch)
        return _describe(meta_step, index + 1, self.learner, epoch, finite=finite)


def _describe(step: MetaStep, iteration: int, learner: MetaLearner, epoch: int, *, finite: bool) -> Iteration:
    inner = step.trace.grad_norm.square().sum(2).sqrt().mean(0)  # [T, K, n_adapted] -> [K]
    outer = torch.stack([gradient.norm() for gradient in learner.learned(step.gradient)]).norm()
    numbers = torch.stack([step.loss, step.trace.query_metric[:, -1].mean(), outer, *inner])
    loss, accuracy, grad_norm, *inner_grad_norms = numbers.tolist()  # one synchronisation with the device
    return Iteration(
        iteration=iteration,
        loss=loss,
        accuracy=accuracy,
        grad_norm=grad_norm,
        inner_grad_norms=tuple(inner_grad_norms),
        second_order=step_config(learner.config, epoch).second_order,
        outer_lr=outer_lr(learner.config, epoch),
        finite=finite,
    )
