"""What is learned from a task, by the name of ``Config.method``: the loss of one task, whose derivative Adam follows.

To add a method: write a function with the arguments and results of ``mamlkit.core.inner_loop.inner_loop``, list it in
``METHODS``, name it in ``mamlkit.core.config``, and say in ``mamlkit.core.contradictions`` which settings it cannot
obey. An engine that does not know it refuses it by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import inner_loop
from mamlkit.core.outer_loop import Method
from mamlkit.core.prototypes import prototypes
from mamlkit.core.reptile import reptile

METHODS: dict[str, Callable[[Config], Method]] = {
    "maml": lambda config: inner_loop,
    "reptile": lambda config: reptile,
    "protonet": lambda config: functools.partial(prototypes, n_way=config.n_way),
}
AT_EVALUATION = {**METHODS, "reptile": METHODS["maml"]}  # a Reptile start adapts to the support set alone
WITHOUT_INNER_LOOP = ("protonet",)


def check_inner_loop(config: Config, what: str) -> None:
    """Raise unless the method of a configuration has an inner loop, which ``what`` shows.

    Raises:
        InputError: it has none.
    """
    if config.method in WITHOUT_INNER_LOOP:
        raise InputError(f"method = {config.method!r} has no inner loop, and {what} shows one; 'maml' is allowed")


def check_rate_table(config: Config) -> None:
    """Raise unless a configuration has an inner rate for each tensor and step, which can be shown as a table.

    Raises:
        InputError: it has one for each number.
    """
    if config.inner_lr_per != "tensor":
        raise InputError(
            f"inner_lr_per = {config.inner_lr_per!r} gives no table of tensors and steps; 'tensor' is allowed"
        )
