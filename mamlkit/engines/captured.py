"""The closed form on a GPU: a whole meta-gradient recorded as one CUDA graph, and replayed with new numbers.

The closed form has no graph of autograd and never waits for the device, so all its kernels can be recorded once and
launched together. A recording is valid for one setting of the meta-iteration and one shape of the meta-batch. Before
a recording is used, it is compared with the engine ``eager`` in float64.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.chunks import in_turn
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, like
from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.schedules import StepConfig, step_config
from mamlkit.core.transforms import Params
from mamlkit.engines import adjoint, inner_step
from mamlkit.engines.adjoint import Functions
from mamlkit.engines.closed_form import Shape
from mamlkit.engines.graph import Eager, Engine

DEVICES = ("cuda",)
WARM_UP = 3  # runs before the recording, in which libraries choose their algorithms
# Largest distance from eager in float64, as a fraction of the meta-gradient's norm.
EXACT, ROUNDED, COARSE = 1e-9, 0.05, 0.3  # float64; float32, which may change a pooling maximum; TF32 and bfloat16


class Recording(NamedTuple):
    """A recorded computation: ``replay`` fills ``outputs`` from the present values of its inputs."""

    outputs: MetaStep
    replay: Callable[[], None]


def record(compute: Callable[[], MetaStep]) -> Recording:
    """Record a computation as a CUDA graph.

    Args:
        compute: reads and returns tensors on the present CUDA device, and never waits for it.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = compute()
    return Recording(outputs, graph.replay)


def uncompiled(support: Shape, query: Shape) -> Functions:
    """Return the functions of the closed form for a chunk's shapes, as torch operations."""
    partial = functools.partial
    return Functions(
        partial(inner_step.inner_step, support),
        partial(inner_step.inner_step, query),
        partial(inner_step.back_step, support),
    )


def make(problem: Problem, config: Config, tasks_per_chunk: int) -> Engine:
    """Return the function ``(meta, buffers, batch, step) -> MetaStep``; it records at the first call of each setting.

    Args:
        problem, config: with settings of the closed form.
        tasks_per_chunk: tasks computed at once.
    """
    functions = functools.partial(_functions, config)
    kept: dict[object, tuple[tuple[MetaParams, Params, Episode], Recording]] = {}

    @torch.no_grad()
    def engine(meta: MetaParams, buffers: Params, batch: Episode, step: StepConfig) -> MetaStep:
        given = meta, buffers, batch
        setting = step, tuple(leaf.shape for leaf in pytree.tree_leaves(given))
        if setting not in kept:
            kept.clear()  # a recording has its own memory; schedules change only between epochs
            inputs = pytree.tree_map(lambda leaf: leaf.detach().clone(), given)

            def compute() -> MetaStep:
                own_meta, own_buffers, own_batch = inputs
                return adjoint.meta_gradient(
                    problem,
                    own_meta,
                    own_buffers,
                    own_batch,
                    step,
                    make=functions,
                    tasks_per_chunk=tasks_per_chunk,
                    keep=config.memory != "low",
                    spread=in_turn,
                )

            kept[setting] = inputs, record(compute)
        inputs, recording = kept[setting]
        _copy(given, inputs)
        recording.replay()
        outputs = pytree.tree_map(torch.empty_like, recording.outputs)
        _copy(recording.outputs, outputs)
        return outputs  # type: ignore[no-any-return]

    return engine


def largest_chunk(problem: Problem, config: Config, batch: Episode, *, chunk: int) -> tuple[int, str]:
    """Return the number of tasks that fit into the GPU's memory at once, and a sentence if it is below ``chunk``.

    The meta-gradient of the first batch is compared with that of ``eager`` in float64.

    Args:
        problem, config: with settings of the closed form.
        batch: a meta-batch on the device.
        chunk: the number of tasks to try first.

    Raises:
        InputError: the meta-gradients do not agree; or not even one task fits.
    """
    step = step_config(config, config.epochs - 1)
    tried = chunk
    while True:
        start = problem.start(device=batch.support_x.device, dtype=getattr(torch, config.dtype))
        try:
            found = make(problem, config, tried)(*start, like(batch, _first(start[0])), step)
            break
        except torch.OutOfMemoryError as error:
            if tried == 1:
                raise InputError("one task alone needs more memory than the GPU has") from error
            tried //= 2
            torch.cuda.empty_cache()
    exact = dataclasses.replace(config, dtype="float64", engine="eager", autocast=False, tf32=False)
    start = problem.start(device=batch.support_x.device, dtype=torch.float64)
    expected = Eager().make(problem, exact, 1)(*start, like(batch, _first(start[0])), step)
    distance = relative_distance(found.gradient, expected.gradient)
    bound = EXACT if config.dtype == "float64" else COARSE if config.autocast or config.tf32 else ROUNDED
    if not distance <= bound:
        raise InputError(
            f"its first meta-gradient is {distance:.2g} of its norm off that of eager in float64; {bound:g} is allowed"
        )
    said = f"{chunk} tasks at once need more memory than the GPU has; {tried} are computed at once"
    return tried, said if tried < chunk else ""


def relative_distance(found: MetaParams, expected: MetaParams) -> float:
    """Return the distance of two meta-gradients as a fraction of the second one's norm, computed on the CPU."""
    leaves = (pytree.tree_leaves(tuple(each)) for each in (found, expected))
    one, other = (torch.cat([leaf.cpu().double().flatten() for leaf in each]) for each in leaves)
    return float((one - other).norm() / other.norm())


def _functions(config: Config, support: Shape, query: Shape) -> Functions:
    return uncompiled(*(dataclasses.replace(shape, autocast=config.autocast) for shape in (support, query)))


def _first(meta: MetaParams) -> Tensor:
    return next(iter(meta.model.values()))


def _copy(source: object, target: object) -> None:
    torch._foreach_copy_(pytree.tree_leaves(target), pytree.tree_leaves(source))
