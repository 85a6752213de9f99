"""The engine ``compiled``: ``Conv4`` in closed form, without a graph of autograd.

On the CPU it is code compiled for this processor, see ``mamlkit.engines.compiler``; on CUDA it is a recorded graph of
kernels, see ``mamlkit.engines.captured``.

The closed form is an exact special case of ``mamlkit.core.inner_loop`` for one network, one loss, one rule and the
settings in ``KNOWN``. The engine rejects every setting that ``KNOWN`` does not list, so it cannot ignore a new setting.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mamlkit.core.batch_norm import PerStepBatchNorm2d
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, count
from mamlkit.core.errors import InputError
from mamlkit.core.metrics import accuracy
from mamlkit.core.networks import Conv4
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig, step_config
from mamlkit.core.transforms import Params
from mamlkit.engines import adjoint, answers, captured, compiler, packing
from mamlkit.engines.closed_form import Shape
from mamlkit.engines.graph import Eager, Engine, Evaluator
from mamlkit.engines.work import iteration_flop

SMALL_TASK = 15  # images; two such tasks fit into a core's cache, larger tasks run best alone
REPAYS = 2e12  # floating-point operations from which on a run repays half a minute of compiling
LAYERS = (Conv4, nn.ModuleList, nn.Conv2d, PerStepBatchNorm2d, nn.Linear)
# Fields of the configuration that the closed form implements, or that do not change a meta-gradient.
# fmt: off
KNOWN = {
    "dataset", "data_path", "image_size", "rotation", "n_way", "k_shot", "q_query", "eval_query", "backbone",
    "filters", "max_pool", "per_step_bn", "per_step_stats", "norm_eval", "n_steps", "eval_steps", "inner_lr",
    "learn_inner_lrs", "adapt", "n_tasks", "outer_lr", "beta2", "cosine_lr", "min_outer_lr", "second_order",
    "first_order_share", "multi_step_loss", "msl_share", "grad_clamp", "grad_clip", "on_nonfinite", "epochs",
    "iterations_per_epoch", "val_episodes", "test_episodes", "ensemble", "patience", "seed", "device", "dtype",
    "engine", "tasks_per_chunk", "memory", "autocast", "tf32",
}
# fmt: on
KNOWN_STEP = StepConfig(loss_weights=(1.0,), second_order=True, track_query=True, norm="batch")


class Compiled(Eager):
    """The closed form of ``Conv4``: compiled on the CPU, recorded on CUDA."""

    def supports(self, problem: Problem, config: Config) -> str | None:
        """Return a description of a setting that the closed form does not know, or None."""
        unknown = config.difference(type(config)()).keys() - KNOWN
        if unknown:
            name = min(unknown)
            return f"{name} = {getattr(config, name)!r}"
        if not _is_conv4(problem.network):
            return f"the network {problem.name}: the closed form is only for mamlkit's own Conv4, unchanged"
        known = {"loss": F.cross_entropy, "metric": accuracy}
        for name, function in known.items():
            if getattr(problem, name) is not function:
                return f"the {name} {getattr(problem, name)!r}"
        if type(problem.rule) is not SGD:
            return f"the rule {problem.rule!r}"
        if problem.adapt_norms or len(problem.trained) != len([*problem.network.parameters()]):
            return "adapted norm layers" if problem.adapt_norms else "parameters that require no gradient"
        return None

    def obstacle(self, problem: Problem, config: Config, batch: Episode) -> str | None:
        """Return the reason if the closed form cannot run on the batch's device, or None."""
        if _is_captured(batch):
            return None
        return (
            compiler.obstacle() or None if batch.support_x.device.type == "cpu" else "it runs only on the CPU and CUDA"
        )

    def repays(self, problem: Problem, config: Config, batch: Episode) -> tuple[bool, str]:
        """Return whether the run saves more time than compiling or recording takes, and a sentence about it."""
        if _is_captured(batch):
            return True, "each meta-iteration is one CUDA graph"
        settings = dataclasses.replace(config, n_tasks=count(batch), tasks_per_chunk=0)
        flop = iteration_flop(settings, step_config(config, config.epochs - 1), tuple(batch.support_x.shape[2:]))
        iterations = config.epochs * config.iterations_per_epoch
        worth = iterations * flop >= REPAYS
        verb = "repay" if worth else "would not repay"
        return worth, f"{iterations} iterations of {flop / 1e9:.3g} GFLOP {verb} half a minute of compiling"

    def tasks_per_chunk(self, config: Config, batch: Episode) -> int:
        """Return on the CPU 2 for an even number of small tasks, else 1; on CUDA the number of all tasks."""
        if _is_captured(batch):
            return min(config.tasks_per_chunk or count(batch), count(batch))
        return _tasks_per_chunk(config, count(batch))

    def ready(
        self,
        problem: Problem,
        config: Config,
        batch: Episode,
        chunk: int,
        *,
        on_part: Callable[[int, int], None] | None = None,
    ) -> tuple[int, str]:
        """Compile the code on the CPU; on CUDA, compare a recording with ``eager``.

        Args:
            problem, config, batch: see ``mamlkit.engines.choose``.
            chunk: tasks computed at once.
            on_part: see ``mamlkit.engines.prepare``.

        Returns:
            The tasks that can be computed at once, and a sentence if they are fewer than ``chunk``.

        Raises:
            InputError: see ``mamlkit.engines.compiler.compile_parts`` and ``mamlkit.engines.captured.largest_chunk``.

        Writes: the cache of compiled code.
        """
        if _is_captured(batch):
            return captured.largest_chunk(problem, config, batch, chunk=chunk)
        compiler.compile_parts(self.parts(problem, config, batch, chunk), on_part)
        return chunk, ""

    def parts(self, problem: Problem, config: Config, batch: Episode, chunk: int) -> list[compiler.Part]:
        """Return the parts to compile for batches of this shape."""
        wanted: list[compiler.Part] = []
        for n_tasks in dict.fromkeys((chunk, count(batch) % chunk)):
            if n_tasks:
                images = (batch.support_x[:n_tasks], batch.query_x[:n_tasks])
                wanted += compiler.parts(*(_shape(problem, config, x) for x in images))
        return list(dict.fromkeys(wanted))

    def make(self, problem: Problem, config: Config, tasks_per_chunk: int) -> Engine:
        """Return the function ``(meta, buffers, batch, step) -> MetaStep``."""
        load = functools.cache(functools.partial(compiler.load, autocast=config.autocast))  # once per shape
        recorded = captured.make(problem, config, tasks_per_chunk)

        def engine(meta: MetaParams, buffers: Params, batch: Episode, step: StepConfig) -> MetaStep:
            _check_step(step)
            if _is_captured(batch):
                return recorded(meta, buffers, batch, step)
            return adjoint.meta_gradient(
                problem,
                meta,
                buffers,
                batch,
                step,
                make=load,
                tasks_per_chunk=tasks_per_chunk,
                keep=config.memory != "low",
            )

        return engine

    def make_evaluator(self, problem: Problem, config: Config) -> Evaluator:
        """Return the function ``(meta, buffers, batch, M steps) -> query logits [M, T, Q, N]``.

        It needs only the code of training. Evaluation has no autocast, and a batch that is not a multiple of the chunk
        would need code of its own; both go through the graph.
        """
        load, through_the_graph = functools.cache(compiler.load), super().make_evaluator(problem, config)
        chunk = _tasks_per_chunk(config, config.n_tasks)

        def evaluator(meta: MetaParams, buffers: Params, batch: Episode, steps: Sequence[StepConfig]) -> torch.Tensor:
            for step in steps:
                _check_step(dataclasses.replace(step, norm=KNOWN_STEP.norm))  # the last query pass accepts any norm
            if _is_captured(batch):
                at_once = count(batch)
                return answers.query_logits(
                    problem, meta, buffers, batch, steps, make=captured.uncompiled, tasks_per_chunk=at_once
                )
            if config.autocast or count(batch) % chunk:
                return cast(torch.Tensor, through_the_graph(meta, buffers, batch, steps))
            return answers.query_logits(problem, meta, buffers, batch, steps, make=load, tasks_per_chunk=chunk)

        return evaluator


def _is_captured(batch: Episode) -> bool:
    return batch.support_x.device.type in captured.DEVICES


def _tasks_per_chunk(config: Config, n_tasks: int) -> int:
    small = max(config.k_shot, config.q_query) * config.n_way <= SMALL_TASK
    best = 2 if small and n_tasks % 2 == 0 else 1
    return min(config.tasks_per_chunk or best, n_tasks)


def _is_conv4(network: nn.Module) -> bool:
    """Return whether a network is a ``Conv4`` with unchanged layers and without hooks."""
    layers = [*network.modules()]
    if type(network) is not Conv4 or any(type(layer) not in LAYERS for layer in layers):
        return False
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer) for layer in layers)
    names = [f"{kind}.{i}" for i in range(4) for kind in ("convs", "norms")]
    whole = {*names, "convs", "norms", "head", ""} == {name for name, _ in network.named_modules()}
    biases = all(layer.bias is not None for layer in (*network.convs, network.head))
    stride, filters = 1 if network.max_pool else 2, network.convs[0].out_channels
    form = f"kernel_size=(3, 3), stride=({stride}, {stride}), padding=(1, 1))"
    plain = all(str(conv).endswith(form) and conv.out_channels == filters for conv in network.convs)
    return whole and plain and biases and not hooked


def _check_step(step: StepConfig) -> None:
    for field in dataclasses.fields(step):
        free = field.name in ("loss_weights", "second_order", "track_query")
        if not free and getattr(step, field.name) != getattr(KNOWN_STEP, field.name, None):
            value = getattr(step, field.name)
            raise InputError(f"the compiled engine does not know {field.name} = {value!r} of a meta-iteration")


def _shape(problem: Problem, config: Config, images: torch.Tensor) -> Shape:
    params: Params = dict(problem.network.named_parameters())
    shape = packing.shape_of(cast(Conv4, problem.network), params, images)
    return dataclasses.replace(shape, dtype=config.dtype, autocast=config.autocast)
