"""The owner of all tensors that meta-training changes: parameters, inner rates, buffers and Adam's moments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mamlkit import engines
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, like
from mamlkit.core.errors import InputError
from mamlkit.core.methods import check_rule
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.randomness import drawn_from
from mamlkit.core.rules import flat, rule_of
from mamlkit.core.schedules import eval_config, outer_lr, step_config
from mamlkit.core.system.devices import pick_device
from mamlkit.core.system.precision import precision
from mamlkit.engines import Choice, Engine, Evaluator
from mamlkit.engines.trial import try_one_task

log = logging.getLogger("mamlkit")


class MetaLearner:
    """A problem under meta-training.

    Args:
        problem: see ``mamlkit.core.problem.Problem``; the network's weights are copied, the module stays unchanged.
        config: see ``mamlkit.core.config.Config``; it sets the problem's open fields.

    Attributes:
        problem: the problem with its rule and adapted tensors.
        params: every trained parameter by name; only Adam updates them.
        rule_tensors: the tensors of the rule by name, see ``MetaParams``.
        buffers: the network's other tensors, with the recorded batch-norm statistics.
        choice: the engine that computes meta-gradients, see ``mamlkit.engines``; None before it is chosen.

    Raises:
        InputError: the problem and the configuration contradict each other.

    Source: section 3 of the paper; Adam as in section 4.2.
    """

    def __init__(self, problem: Problem, config: Config) -> None:
        self.problem, self.config = problem.configured(config), config
        check_rule(self.problem, config)
        self.choice: Choice | None = None
        self._engine: Engine | None = None
        self._evaluator: Evaluator | None = None
        meta, self.buffers = self.problem.start(device=pick_device(config.device), dtype=getattr(torch, config.dtype))
        self.params, self.rule_tensors = meta
        self.optimizer = torch.optim.Adam(
            self.learned(self.meta), lr=config.outer_lr, betas=(0.9, config.beta2), eps=1e-8
        )

    @classmethod
    def from_config(cls, config: Config, image_shape: tuple[int, int, int]) -> MetaLearner:
        """Return a learner of the configuration's network, see ``Problem.from_config``."""
        return cls(Problem.from_config(config, image_shape), config)

    def reconfigure(self, config: Config) -> MetaLearner:
        """Return a learner with copies of these tensors and another configuration, for evaluation.

        Args:
            config: a configuration of the same network; only settings of evaluation may differ, such as ``eval_steps``.
        """
        own = self.problem if self.problem.rule != rule_of(self.config) else replace(self.problem, rule=None)
        other = MetaLearner(own, config)
        state = {**other.state(), **self.state()}
        for name, mine in other.state().items():
            if mine.shape != state[name].shape:  # a table with a column for each step
                columns = min(mine.shape[-1], state[name].shape[-1])
                table = mine.clone()
                table[..., :columns] = state[name][..., :columns]
                state[name] = table
        other.load_state(state)
        return other

    @property
    def meta(self) -> MetaParams:
        """The meta-parameters, without a copy."""
        return MetaParams(self.params, self.rule_tensors)

    @property
    def inner_lrs(self) -> Tensor:
        """The inner rates of ``SGD``, [n_adapted, K]; ``rows`` names its rows."""
        return self.meta.inner_lrs

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the adapted tensors."""
        return self.problem.adapted

    @property
    def device(self) -> torch.device:
        """The device of the learner's tensors."""
        return self._like.device

    @property
    def _like(self) -> Tensor:
        return next(iter(self.params.values()))

    def to_device(self, batch: Episode) -> Episode:
        """Return a meta-batch on the learner's device, its floating-point tensors in the learner's dtype."""
        return like(batch, self._like)

    def use(self, choice: Choice) -> None:
        """Use the engine of a choice for all meta-gradients.

        Writes: ``choice``.
        """
        self.choice, self._engine = choice, engines.make(choice, self.problem, self.config)

    def choose_engine(self, batch: Episode, *, on_part: Callable[[int, int], None] | None = None) -> Choice:
        """Choose an engine for meta-batches of this shape, unless there is a choice already, and return the choice.

        Args:
            batch: a meta-batch.
            on_part: see ``mamlkit.engines.prepare``.

        Raises:
            InputError: the network cannot take the batch, or the engine does not know a setting.

        Writes: ``choice``; the cache of compiled code.
        """
        if self.choice is None:
            with drawn_from(self.config.seed, device=self.device):  # a trial may draw; torch's state is restored
                own = self.meta, self.buffers, self.to_device(batch)
                self.problem.check_forward(*own)
                try_one_task(self.problem, self.config, *own)
                with precision(self.device, tf32=self.config.tf32):
                    choice = engines.prepare(self.problem, self.config, own[2], on_part=on_part)
            for sentence in choice.why:
                log.info(sentence)
            self.use(choice)
        return cast(Choice, self.choice)

    def meta_step(self, batch: Episode, epoch: int) -> MetaStep:
        """Return the meta-gradient of a batch in an epoch.

        The learned tensors stay unchanged; ``apply`` takes the step. The first call chooses the engine.
        """
        if self._engine is None:
            self.choose_engine(batch)
        step = step_config(self.config, epoch)
        with precision(self.device, tf32=self.config.tf32):
            return cast(Engine, self._engine)(self.meta, self.buffers, self.to_device(batch), step)

    def query_logits(self, batch: Episode, norms: Sequence[str]) -> Any:
        """Return the query outputs [M, T, Q, ...] after adapting to each task, in evaluation mode.

        Args:
            batch: a meta-batch on the learner's device.
            norms: M statistics of the query pass, each ``"batch"`` or ``"running"``.
        """
        if self._evaluator is None:
            problem, choice = self.problem.at_evaluation, self.choice
            if choice is None:  # auto compiles nothing only for an evaluation
                asked = "vmap" if self.config.engine == "auto" else self.config.engine
                choice = engines.choose(problem, replace(self.config, engine=asked), batch)
            self._evaluator = engines.make_evaluator(choice, problem, self.config)
        steps = [eval_config(self.config, norm) for norm in norms]
        with precision(self.device, tf32=self.config.tf32):
            return self._evaluator(self.meta, self.buffers, batch, steps)

    def learned(self, meta: MetaParams) -> list[Tensor]:
        """Return the tensors of ``meta``, or of a gradient with its structure, that Adam updates."""
        rule = [meta.rule[name] for name in self.problem.need_rule.learned]
        return [*meta.model.values(), *pytree.tree_leaves(rule)]

    def apply(self, step: MetaStep, epoch: int) -> bool:
        """Take one Adam step and the new buffers, unless the step has a non-finite number.

        Returns:
            False if the step was skipped; then nothing changed.

        Writes: params, the learned tensors of the rule, buffers, Adam's moments.
        """
        gradients = self.learned(step.gradient)
        finite = [torch.isfinite(x).all() for x in (*gradients, step.loss, *step.buffers.values())]
        if not torch.stack(finite).all():  # waits for the device, once
            return False
        [group] = self.optimizer.param_groups
        for tensor, gradient in zip(group["params"], gradients):
            clamp = self.config.grad_clamp
            tensor.grad = gradient.clamp(-clamp, clamp) if clamp else gradient.clone()  # the clip writes into it
        if self.config.grad_clip:
            nn.utils.clip_grad_norm_(group["params"], self.config.grad_clip)
        group["lr"] = outer_lr(self.config, epoch)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.buffers = step.buffers
        return True

    def state(self) -> dict[str, Tensor]:
        """Return every tensor of a checkpoint by a flat name, without a copy.

        The names are ``model/<name>``, ``buffers/<name>``, ``adam/<i>/<moment>`` and the rule's, as ``inner_lrs``.
        """
        state = {f"model/{name}": value for name, value in self.params.items()}
        state |= {f"buffers/{name}": value for name, value in self.buffers.items()}
        state |= flat(self.rule_tensors)
        for i, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam/{i}/{name}": value for name, value in moments.items()}
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Load the result of ``state`` from a learner with the same configuration.

        Raises:
            InputError: a tensor is missing, unknown or of another shape.

        Writes: params, the rule's tensors, buffers, Adam's moments.
        """
        mine = {name: value for name, value in self.state().items() if not name.startswith("adam/")}
        if any(name.startswith("adam/") for name in state):  # the other learner has taken a step
            mine |= self._blank_moments()
        if mine.keys() != state.keys():
            odd = ", ".join(sorted(mine.keys() ^ state.keys()))
            raise InputError(f"the checkpoint's tensors are not this network's; only one of them has {odd}")
        for name, value in mine.items():
            if value.shape != state[name].shape:
                shapes = f"{list(state[name].shape)}; this network needs {list(value.shape)}"
                raise InputError(f"the checkpoint's {name} has shape {shapes}")
        moments: dict[int, dict[str, Tensor]] = {}
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(state[name])
                if name.startswith("adam/"):
                    _, index, moment = name.split("/")
                    moments.setdefault(int(index), {})[moment] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})

    def _blank_moments(self) -> dict[str, Tensor]:
        blank: dict[str, Tensor] = {}
        [group] = self.optimizer.param_groups
        for i, tensor in enumerate(group["params"]):
            blank[f"adam/{i}/step"] = torch.zeros(())
            blank |= {f"adam/{i}/{name}": torch.zeros_like(tensor) for name in ("exp_avg", "exp_avg_sq")}
        return blank
