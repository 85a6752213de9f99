"""Tiny trainings that several test files share, and how their states are compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mamlkit.core.config import Config

# Of runs that are kept in a folder, of the smallest network; for a configuration or a command.
RUN: dict[str, Any] = dict(n_way=2, q_query=1, eval_query=1, filters=3, n_steps=2, n_tasks=1, epochs=3, ensemble=1)
RUN |= dict(iterations_per_epoch=2, val_episodes=2, backbone="mlp", per_step_bn=False, per_step_stats=False)

# As most golden cases are: code that is compiled for one of these tests serves the others.
AS_GOLDEN = Config(
    n_way=3,
    k_shot=2,
    q_query=2,
    filters=4,
    n_steps=2,
    n_tasks=2,
    epochs=2,
    iterations_per_epoch=2,
    device="cpu",
)


def flags(settings: dict[str, Any]) -> list[str]:
    """Return settings as options of ``mamlkit train``."""
    options: list[str] = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        options += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return options


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Return whether two states have the same names and, bit for bit, the same numbers."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
