"""The engines ``eager`` and ``vmap``: automatic differentiation through the inner loop, for any problem.

Chunks of tasks are computed side by side, with one thread each, see ``mamlkit.core.chunks``. With one thread they are
computed one after the other; so are chunks for the user's own network or loss, which may draw random numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from mamlkit.core.chunks import Spread, in_turn, side_by_side, split
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, count, like
from mamlkit.core.errors import InputError
from mamlkit.core.methods import AT_EVALUATION, METHODS
from mamlkit.core.networks import SHIPPED
from mamlkit.core.outer_loop import MetaStep, meta_gradient, run_tasks
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig, step_config
from mamlkit.core.transforms import Params

Engine = Callable[[MetaParams, Params, Episode, StepConfig], MetaStep]
Evaluator = Callable[[MetaParams, Params, Episode, Sequence[StepConfig]], Any]

VMAP_CHUNK = 4  # tasks
EVALUATED_AT_ONCE = 4  # tasks of a chunk at evaluation
REFUSALS = (RuntimeError, NotImplementedError, TypeError, ValueError)  # of torch.vmap, for the user's own network


class Eager:
    """One task after the other: the reference for all other engines, and the easiest to inspect."""

    def supports(self, problem: Problem, config: Config) -> str | None:
        """Return a description of a setting that this engine does not implement; None: it implements all."""
        return None

    def obstacle(self, problem: Problem, config: Config, batch: Episode) -> str | None:
        """Return the reason if the engine cannot run here; None: it can."""
        return None

    def tasks_per_chunk(self, config: Config, batch: Episode) -> int:
        """Return the number of tasks computed at once in training."""
        return 1

    def evaluated_at_once(self, config: Config) -> int:
        """Return the number of tasks computed at once at evaluation."""
        return 1

    def make(self, problem: Problem, config: Config, tasks_per_chunk: int) -> Engine:
        """Return the function ``(meta, buffers, batch, step) -> MetaStep``."""

        def engine(meta: MetaParams, buffers: Params, batch: Episode, step: StepConfig) -> MetaStep:
            kind = pytree.tree_leaves(batch)[0].device.type
            with torch.autocast(kind, torch.bfloat16) if config.autocast else contextlib.nullcontext():
                return meta_gradient(
                    problem,
                    meta,
                    buffers,
                    batch,
                    step,
                    tasks_per_chunk=tasks_per_chunk,
                    low_memory=config.memory == "low",
                    spread=_spread(problem, batch),
                    method=METHODS[config.method](config),
                )

        return engine

    def make_evaluator(self, problem: Problem, config: Config) -> Evaluator:
        """Return the function ``(meta, buffers, batch, M steps) -> query outputs [M, T, Q, ...]``."""
        method, at_once = AT_EVALUATION[config.method](config), self.evaluated_at_once(config)

        def evaluator(meta: MetaParams, buffers: Params, batch: Episode, steps: Sequence[StepConfig]) -> Any:
            def answer(own: Problem, tasks: Episode) -> Any:
                traces = (run_tasks(own, meta, buffers, tasks, step, method=method)[1] for step in steps)
                return pytree.tree_map(lambda *outputs: torch.stack(outputs), *(trace.query_logits for trace in traces))

            with torch.no_grad():
                parts = _spread(problem, batch)(answer, problem, split(batch, at_once))
                return pytree.tree_map(lambda *chunks: torch.cat(chunks, 1), *parts)  # M x chunk -> [M, T, Q, ...]

        return evaluator


class Vmap(Eager):
    """Several tasks at once, for any problem that ``torch.vmap`` can map over tasks."""

    def obstacle(self, problem: Problem, config: Config, batch: Episode) -> str | None:
        """Return the reason if the problem cannot be mapped over tasks, after one trial on two tasks."""
        if type(problem.network) in SHIPPED:
            return None
        meta, buffers = problem.start(dtype=getattr(torch, config.dtype))
        pair = pytree.tree_map(lambda x: torch.cat([x[:1], x[:1]]), like(batch, next(iter(meta.model.values()))))
        step = step_config(config, config.epochs - 1)
        try:
            self.make(problem, config, 2)(meta, buffers, pair, step)
            self.make_evaluator(problem.at_evaluation, config)(meta, buffers, pair, [step])
        except InputError:
            raise
        except REFUSALS as error:
            return f"torch.vmap cannot map the network {problem.name} over tasks ({str(error).splitlines()[0]})"
        return None

    def tasks_per_chunk(self, config: Config, batch: Episode) -> int:
        """Return the number of tasks computed at once: small enough for two or more chunks side by side."""
        best = max(1, min(VMAP_CHUNK, count(batch) // 2))
        return min(config.tasks_per_chunk or best, count(batch))

    def evaluated_at_once(self, config: Config) -> int:
        """Return the configuration's ``tasks_per_chunk``, or 4."""
        return config.tasks_per_chunk or EVALUATED_AT_ONCE


def _spread(problem: Problem, batch: Episode) -> Spread:
    """Return the way to compute chunks: side by side on the CPU if nothing draws random numbers, else in turn."""
    on_the_cpu = pytree.tree_leaves(batch)[0].device.type == "cpu"
    return side_by_side if on_the_cpu and not problem.may_draw else in_turn
