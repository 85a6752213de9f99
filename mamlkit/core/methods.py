"""The meta-learning methods by their name in ``Config.method``: each is a loss of one task, and Adam uses its gradient.

To add a method: write a function with the arguments and results of ``mamlkit.core.inner_loop.inner_loop``, list it in
``METHODS``, add its name to ``mamlkit.core.config``, and list the settings without effect on it in
``mamlkit.core.contradictions``. An engine rejects methods that it does not know.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import inner_loop
from mamlkit.core.outer_loop import Method
from mamlkit.core.problem import Problem
from mamlkit.core.prototypes import prototypes
from mamlkit.core.reptile import reptile
from mamlkit.core.rules import rule_of

METHODS: dict[str, Callable[[Config], Method]] = {
    "maml": lambda config: inner_loop,
    "reptile": lambda config: reptile,
    "protonet": lambda config: functools.partial(prototypes, n_way=config.n_way),
}
AT_EVALUATION = {**METHODS, "reptile": METHODS["maml"]}  # Reptile adapts only to the support set at evaluation
WITHOUT_INNER_LOOP = ("protonet",)


def check_inner_loop(config: Config, what: str) -> None:
    """Raise unless the method of a configuration has an inner loop; ``what`` names the output that shows it.

    Raises:
        InputError: the method has no inner loop.
    """
    if config.method in WITHOUT_INNER_LOOP:
        raise InputError(f"method = {config.method!r} has no inner loop, and {what} shows one; 'maml' is allowed")


def check_rule(problem: Problem, config: Config) -> None:
    """Raise unless the rule of a problem has an effect on the method of a configuration.

    Raises:
        InputError: the method has no inner loop, or no derivative through it by which the rule could learn.
    """
    rule, method = problem.need_rule, f"method = {config.method!r}"
    if config.method in WITHOUT_INNER_LOOP and rule != rule_of(config):
        raise InputError(
            f"the rule {rule!r} has no meaning for {method}, which has no inner loop; rule = None is allowed"
        )
    if config.method != "maml" and rule.learned:
        raise InputError(
            f"the rule {rule!r} learns {', '.join(rule.learned)}, which has no meaning for {method}; a rule without "
            "learned tensors is allowed"
        )


def check_rate_table(config: Config) -> None:
    """Raise unless the inner rates of a configuration form a table of tensors and steps.

    Raises:
        InputError: there is an inner rate for each number.
    """
    if config.inner_lr_per != "tensor":
        raise InputError(
            f"inner_lr_per = {config.inner_lr_per!r} gives no table of tensors and steps; 'tensor' is allowed"
        )
