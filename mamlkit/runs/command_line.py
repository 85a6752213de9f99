"""The command line of a configuration, as a run records it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from mamlkit.core.config import Config
from mamlkit.core.recipes import configure


def flag(field: str) -> str:
    """Return the name of a field's option.

    >>> flag("n_way")
    '--n-way'
    """
    return f"--{field.replace('_', '-')}"


def command_line(recipe: str, config: Config) -> str:
    """Return the shortest ``mamlkit train`` command that gives this configuration.

    >>> command_line("anil", configure("anil", dataset="omniglot", n_way=20))
    'mamlkit train --dataset omniglot --recipe anil --n-way 20'
    """
    base = configure(recipe, dataset=config.dataset, k_shot=config.k_shot)
    changes = {"k_shot": config.k_shot} if config.k_shot != Config().k_shot else {}
    changes = {**config.difference(base), **changes}
    named = {key: changes[key] for key in config.to_dict() if key in changes}  # in order of the fields
    return shlex.join(["mamlkit", "train", "--dataset", config.dataset, "--recipe", recipe, *_arguments(named)])


def _arguments(values: Mapping[str, Any]) -> list[str]:
    arguments: list[str] = []
    for key, value in values.items():
        if isinstance(value, bool):
            arguments.append(flag(key) if value else f"--no-{flag(key)[2:]}")
        else:
            arguments += [flag(key), str(value)]
    return arguments
