"""Try a problem of the user's own on one task, so that a fault in it is one sentence before a run begins."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree

from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError, described
from mamlkit.core.metrics import accuracy, check_metric
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import rule_of
from mamlkit.core.schedules import step_config
from mamlkit.core.transforms import Params
from mamlkit.engines.graph import Eager


def try_one_task(problem: Problem, config: Config, meta: MetaParams, buffers: Params, batch: Episode) -> None:
    """Compute the meta-gradient of the first task, in the last epoch's order, and adapt to it as at evaluation.

    A problem that has only parts of mamlkit is not tried.

    Args:
        problem: a problem with a rule.
        config: see ``mamlkit.core.config.Config``.
        meta, buffers: see ``mamlkit.core.inner_loop.adapt``.
        batch: a meta-batch with the shapes of the run, on the device of ``meta``.

    Raises:
        InputError: network, loss, metric or rule fails, cannot be differentiated, or writes into the network's tensors.
    """
    if not problem.may_draw and problem.metric is accuracy and problem.rule == rule_of(config):
        return
    one = pytree.tree_map(lambda x: x[:1], batch)
    step, eager = step_config(config, config.epochs - 1), Eager()
    own, before = (
        {**meta.model, **buffers},
        {name: tensor.clone() for name, tensor in {**meta.model, **buffers}.items()},
    )
    try:
        done = eager.make(problem, config, 1)(meta, buffers, one, step)
        eager.make_evaluator(problem.at_evaluation, config)(meta, buffers, one, [step])
    except InputError:
        raise
    except Exception as error:
        parts = f"network {problem.name}, loss {_name(problem.loss)}, metric {_name(problem.metric)}"
        raise InputError(
            f"the problem fails on its first task ({described(error)}); its parts are {parts} and rule {problem.rule!r}"
        ) from error
    for name, tensor in before.items():
        if not torch.allclose(tensor, own[name], rtol=0, atol=0, equal_nan=True):
            raise InputError(
                f"network {problem.name} or rule {problem.rule!r} writes into tensor {name!r}; new tensors are needed"
            )
    check_metric(problem.metric, done.trace.query_metric[:, -1])


def _name(function: Any) -> str:
    return getattr(function, "__name__", repr(function))
