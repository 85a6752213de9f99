"""Settings that have no meaning for a network or a method, and so must stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mamlkit.core.errors import InputError

# (field, value) -> the only values that other fields may have beside it.
_NO_INNER_DERIVATIVE = {
    "second_order": False,
    "first_order_share": 0.0,
    "multi_step_loss": False,
    "learn_inner_lrs": False,
    "adapt": "all",
    "memory": "normal",
}
_NO_INNER_LOOP = {
    "n_steps": 1,
    "eval_steps": 0,
    "inner_lr": 0.1,
    "inner_rule": "sgd",
    "inner_decay": 0.0,
    "adapt_norms": False,
}
ALLOWED: dict[tuple[str, str], dict[str, Any]] = {
    ("backbone", "mlp"): {"per_step_bn": False, "per_step_stats": False, "norm_eval": "batch", "max_pool": True},
    ("backbone", "resnet12"): {"max_pool": True},
    ("method", "reptile"): _NO_INNER_DERIVATIVE,
    ("method", "protonet"): {**_NO_INNER_DERIVATIVE, **_NO_INNER_LOOP},
}


def check(values: Mapping[str, Any]) -> None:
    """Raise unless every setting has a meaning for the network and the method.

    Args:
        values: the fields of a configuration.

    Raises:
        InputError: one has none; the sentence names it and its allowed value.
    """
    for (field, value), allowed in ALLOWED.items():
        for name, only in allowed.items():
            if values[field] == value and values[name] != only:
                raise InputError(
                    f"{name} = {values[name]!r} has no meaning for {field} = {value!r}; {only!r} is allowed"
                )
