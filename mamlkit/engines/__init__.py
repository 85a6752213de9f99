"""Ways to compute the same meta-gradient: for reading, for any network, and for speed.

- ``eager``: a task at a time; ``print`` works anywhere inside, and with one thread ``breakpoint()`` too.
- ``vmap``: several tasks at once.
- ``compiled``: ``Conv4`` in closed form, without a graph, as code compiled for this processor (``closed_form``,
  ``adjoint``, ``compiler``).
- ``auto``: the one of these that ends the run first.

Chunks of tasks, of one task in ``eager``, are computed side by side, a thread each, see ``mamlkit.core.chunks``. With
one thread (``torch.set_num_threads(1)``), and for a network or loss of your own, they are computed one after the other.

To add an engine: give it a name in ``Config.engine``, a reason in ``choose`` not to take it, and a line in ``make``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamlkit.core.chunks import Spread, in_turn, side_by_side, split
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import LossFn, MetaParams, Params
from mamlkit.core.networks import MLP, Conv4
from mamlkit.core.outer_loop import MetaStep, meta_gradient, run_tasks
from mamlkit.core.schedules import StepConfig, step_config
from mamlkit.engines import adjoint, compiler, judge
from mamlkit.engines.closed_form import Shape
from mamlkit.engines.work import iteration_flop

Engine = Callable[..., MetaStep]  # (meta, buffers, batch, step_config)
Judge = Callable[..., Tensor]  # (meta, buffers, batch, M step_configs) -> query logits [M, T, Q, N]

VMAP_CHUNK = 4
JUDGED_AT_ONCE = 4  # tasks of a chunk at evaluation
SMALL_TASK = 15  # images; chunks of two such tasks stay in a core's cache, larger tasks are best alone
REPAYS = 2e12  # floating-point operations of a run from which on half a minute of compiling is won back


@dataclass(frozen=True)
class Choice:
    """What computes a run's meta-gradients, and why.

    Attributes:
        engine: ``"eager"``, ``"vmap"`` or ``"compiled"``.
        tasks_per_chunk: tasks computed at once.
        why: sentences for the user.
    """

    engine: str
    tasks_per_chunk: int
    why: tuple[str, ...]


def is_known(model: nn.Module, loss_fn: LossFn) -> bool:
    """Return whether the closed form is that of this network and loss."""
    return isinstance(model, Conv4) and loss_fn is F.cross_entropy


def choose(config: Config, image_shape: tuple[int, ...], *, known: bool) -> Choice:
    """Return the engine that a configuration asks for, or the best that can do it here.

    Args:
        config: whose ``engine``, ``tasks_per_chunk`` and amount of work count.
        image_shape: (C, H, W).
        known: see ``is_known``.

    Pure: no state but what this machine has, and what is compiled already.
    """
    obstacle = _obstacle(config, known)
    engine, why = config.engine, []
    if engine == "compiled" and obstacle:
        engine, why = "vmap", [f"engine vmap: compiled cannot be used, {obstacle}"]
    elif engine == "auto":
        engine, reason = ("vmap", f"compiled cannot be used, {obstacle}") if obstacle else _fastest(config, image_shape)
        why = [f"engine {engine}: {reason}"]
    chunk = _chunk(config, engine)
    if config.tasks_per_chunk > chunk:
        asked = f"tasks_per_chunk = {config.tasks_per_chunk} is more than n_tasks = {config.n_tasks}"
        why.append(f"{asked}; {chunk} is used")
    return Choice(engine, chunk, tuple(why))


def prepare(
    config: Config,
    image_shape: tuple[int, ...],
    *,
    known: bool,
    on_part: Callable[[int, int], None] | None = None,
) -> Choice:
    """Choose an engine and compile what it needs; where that fails, choose another that needs nothing.

    Args:
        config, image_shape, known: see ``choose``.
        on_part: called with parts done and parts in all, at the start and after each.

    Writes: the cache of compiled code.
    """
    choice = choose(config, image_shape, known=known)
    if choice.engine == "compiled":
        try:
            compiler.compile_parts(parts(config, image_shape), on_part)
        except (InputError, OSError) as error:
            why = f"engine vmap: compiled cannot be used, {error}"
            return Choice("vmap", _chunk(config, "vmap"), (*choice.why, why))
    return choice


def make(choice: Choice, config: Config, model: nn.Module, loss_fn: LossFn) -> Engine:
    """Return the function ``(meta, buffers, batch, step_config) -> MetaStep`` of a choice."""
    chunk, low_memory = choice.tasks_per_chunk, config.memory == "low"
    if choice.engine == "compiled" and isinstance(model, Conv4):
        load = functools.cache(functools.partial(compiler.load, autocast=config.autocast))  # once for each shape
        return functools.partial(adjoint.meta_gradient, model, make=load, tasks_per_chunk=chunk, keep=not low_memory)

    def engine(meta: MetaParams, buffers: Params, batch: Episode, step: StepConfig) -> MetaStep:
        kind = batch.support_x.device.type
        with torch.autocast(kind, torch.bfloat16) if config.autocast else contextlib.nullcontext():
            return meta_gradient(
                model,
                meta,
                buffers,
                batch,
                step,
                loss_fn=loss_fn,
                tasks_per_chunk=chunk,
                low_memory=low_memory,
                spread=_spread(model, loss_fn, batch),
            )

    return engine


def _spread(model: nn.Module, loss_fn: LossFn, batch: Episode) -> Spread:
    """Return how chunks are computed: side by side on the CPU, where nothing draws random numbers."""
    draws_nothing = type(model) in (Conv4, MLP) and loss_fn in (F.cross_entropy, F.mse_loss)
    return side_by_side if draws_nothing and batch.support_x.device.type == "cpu" else in_turn


def make_judge(config: Config, model: nn.Module, loss_fn: LossFn, batch: Episode) -> Judge:
    """Return the function ``(meta, buffers, batch, step_configs) -> query logits [M, T, Q, N]`` for such batches.

    It is compiled where what it needs is there already, as in and after a training; nothing is compiled for it.
    """
    chunk = _chunk(config, "compiled")
    asked = config.engine in ("auto", "compiled") and not config.autocast and len(batch.support_x) % chunk == 0
    if asked and isinstance(model, Conv4) and not _obstacle(config, is_known(model, loss_fn)):
        shape = _shape(config, tuple(batch.support_x.shape[2:]), chunk, config.k_shot)
        if not compiler.missing([("gradient", shape)]):
            load = functools.cache(compiler.load)
            return functools.partial(judge.query_logits, model, make=load, tasks_per_chunk=chunk)

    def plain(meta: MetaParams, buffers: Params, batch: Episode, configs: Sequence[StepConfig]) -> Tensor:
        def answer(own: nn.Module, tasks: Episode) -> Tensor:
            traces = (run_tasks(own, meta, buffers, tasks, each, loss_fn=loss_fn)[1] for each in configs)
            return torch.stack([trace.query_logits for trace in traces])

        with torch.no_grad():
            chunks = split(batch, config.tasks_per_chunk or JUDGED_AT_ONCE)
            return torch.cat([*_spread(model, loss_fn, batch)(answer, model, chunks)], 1)  # M x chunk -> [M, T, Q, N]

    return plain


def parts(config: Config, image_shape: tuple[int, ...]) -> list[compiler.Part]:
    """Return what the compiled engine needs for a run."""
    chunk = _chunk(config, "compiled")
    wanted: list[compiler.Part] = []
    for n_tasks in dict.fromkeys((chunk, config.n_tasks % chunk)):
        if n_tasks:
            support, query = (
                _shape(config, image_shape, n_tasks, per_class) for per_class in (config.k_shot, config.q_query)
            )
            wanted += compiler.parts(support, query)
    return list(dict.fromkeys(wanted))


def _shape(config: Config, image_shape: tuple[int, ...], n_tasks: int, per_class: int) -> Shape:
    return Shape(
        n_tasks=n_tasks,
        n_images=config.n_way * per_class,
        n_way=config.n_way,
        channels=image_shape[0],
        size=image_shape[1],
        filters=config.filters,
        pool=config.max_pool,
        dtype=config.dtype,
        autocast=config.autocast,
    )


def _obstacle(config: Config, known: bool) -> str:
    if not known:
        return "as it knows the network conv4 with the cross-entropy alone"
    if config.device not in ("cpu", "auto") or (config.device == "auto" and torch.cuda.is_available()):
        return "as it runs on the CPU alone"
    missing = compiler.obstacle()
    return f"as {missing}" if missing else ""


def _fastest(config: Config, image_shape: tuple[int, ...]) -> tuple[str, str]:
    if not compiler.missing(parts(config, image_shape)):
        return "compiled", "what it needs is compiled already"
    iterations = config.epochs * config.iterations_per_epoch
    flop = iteration_flop(config, step_config(config, config.epochs - 1), image_shape)
    work = f"{iterations} iterations of {flop / 1e9:.3g} GFLOP"
    if iterations * flop < REPAYS:
        return "vmap", f"{work} would not repay half a minute of compiling"
    return "compiled", f"{work} repay half a minute of compiling"


def _chunk(config: Config, engine: str) -> int:
    if engine == "eager":
        return 1
    small = max(config.k_shot, config.q_query) * config.n_way <= SMALL_TASK
    if engine == "vmap":
        best = max(1, min(VMAP_CHUNK, config.n_tasks // 2))  # two chunks or more, to go side by side
    else:
        best = 2 if small and config.n_tasks % 2 == 0 else 1
    return min(config.tasks_per_chunk or best, config.n_tasks)
