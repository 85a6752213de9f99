"""Ways to compute the same meta-gradient: for reading, for any network, and for speed.

- ``eager``: one task at a time; ``print`` works anywhere inside, and with one thread ``breakpoint()`` too.
- ``vmap``: several tasks at once.
- ``compiled``: ``Conv4`` in closed form, compiled for this processor, or recorded as one CUDA graph.
- ``auto``: the first of these to finish the run.

An engine has the methods of ``mamlkit.engines.graph.Eager``: ``supports`` names a setting that the engine does not
implement, ``obstacle`` gives the reason if it cannot run here, ``make`` and ``make_evaluator`` build its functions. To
add an engine: write its class, list it in ``ENGINES``, and add it to ``ORDER``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.problem import Problem
from mamlkit.engines.compiled import Compiled
from mamlkit.engines.graph import Eager, Engine, Evaluator, Vmap

__all__ = ["Choice", "Engine", "Evaluator", "choose", "make", "make_evaluator", "prepare"]

COMPILED = Compiled()
ENGINES: dict[str, Eager] = {"eager": Eager(), "vmap": Vmap(), "compiled": COMPILED}
ORDER = {  # engines to try for each name, in order
    "auto": ("compiled", "vmap", "eager"),
    "compiled": ("compiled", "vmap", "eager"),
    "vmap": ("vmap", "eager"),
    "eager": ("eager",),
}


@dataclass(frozen=True)
class Choice:
    """The engine of a run.

    Attributes:
        engine: ``"eager"``, ``"vmap"`` or ``"compiled"``.
        tasks_per_chunk: tasks computed at once.
        why: sentences for the user.
    """

    engine: str
    tasks_per_chunk: int
    why: tuple[str, ...]


def choose(problem: Problem, config: Config, batch: Episode) -> Choice:
    """Return the engine of a configuration, or the next engine that can run here.

    The choice depends on the problem, the configuration and the machine, never on earlier runs.

    Args:
        problem: a problem with a rule.
        config: its ``engine``, ``tasks_per_chunk`` and amount of work count.
        batch: a meta-batch with the shapes of the run.

    Raises:
        InputError: the engine that ``config`` names does not implement a setting; or the network cannot take the batch.
    """
    passed: list[str] = []
    for name in ORDER[config.engine]:
        engine = ENGINES[name]
        unknown = engine.supports(problem, config)
        if unknown and name == config.engine:
            raise InputError(_refusal(name, unknown))
        reason = unknown and f"does not know {unknown}"
        reason = reason or engine.obstacle(problem, config, batch)
        if not reason and name == "compiled" and config.engine == "auto":
            worth, reason = COMPILED.repays(problem, config, batch)
            if worth:
                return _choice(name, config, batch, f"engine {name}: {reason}")
        if not reason:
            break
        passed.append(f"{name} is not used: {reason}")
    return _choice(name, config, batch, *([f"engine {name}: {'; '.join(passed)}"] if passed else []))


def prepare(
    problem: Problem, config: Config, batch: Episode, *, on_part: Callable[[int, int], None] | None = None
) -> Choice:
    """Choose an engine and compile or record its code; if that fails, choose ``vmap``.

    Args:
        problem, config, batch: see ``choose``.
        on_part: called with the finished parts and all parts, at the start and after each part.

    Raises:
        InputError: see ``choose``.

    Writes: the cache of compiled code.
    """
    choice = choose(problem, config, batch)
    if choice.engine == "compiled":
        try:
            chunk, why = COMPILED.ready(problem, config, batch, choice.tasks_per_chunk, on_part=on_part)
        except (InputError, OSError) as error:
            return _choice("vmap", config, batch, *choice.why, f"engine vmap: compiled cannot be used, {error}")
        return dataclasses.replace(choice, tasks_per_chunk=chunk, why=(*choice.why, *([why] if why else [])))
    return choice


def make(choice: Choice, problem: Problem, config: Config) -> Engine:
    """Return the function ``(meta, buffers, batch, step) -> MetaStep`` of a choice.

    Raises:
        InputError: the engine does not implement a setting.
    """
    return _knowing(choice, problem, config).make(problem, config, choice.tasks_per_chunk)


def make_evaluator(choice: Choice, problem: Problem, config: Config) -> Evaluator:
    """Return the function ``(meta, buffers, batch, M steps) -> query outputs [M, T, Q, ...]`` of a choice.

    Raises:
        InputError: the engine does not implement a setting.
    """
    return _knowing(choice, problem, config).make_evaluator(problem, config)


def _knowing(choice: Choice, problem: Problem, config: Config) -> Eager:
    engine = ENGINES[choice.engine]
    if unknown := engine.supports(problem, config):
        raise InputError(_refusal(choice.engine, unknown))
    return engine


def _refusal(name: str, unknown: str) -> str:
    return f"engine = {name!r} does not know {unknown}; choose 'auto', 'vmap' or 'eager'"


def _choice(name: str, config: Config, batch: Episode, *why: str) -> Choice:
    chunk = ENGINES[name].tasks_per_chunk(config, batch)
    if config.tasks_per_chunk > chunk:
        why = (*why, f"tasks_per_chunk = {config.tasks_per_chunk} is more than n_tasks = {chunk}; {chunk} is used")
    return Choice(name, chunk, why)
