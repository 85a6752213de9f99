"""Checks for settings that contradict each other or have no effect together.

To add a check: yield a sentence that names the setting, its value and the allowed value.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from mamlkit.core.data_sources import with_a_path
from mamlkit.core.errors import InputError

# (field, value) -> the only allowed values of other fields.
NO_INNER_DERIVATIVE = {
    "second_order": False,
    "first_order_share": 0.0,
    "multi_step_loss": False,
    "learn_inner_lrs": False,
    "adapt": "all",
    "memory": "normal",
    "norm_train": "batch",
}
NO_INNER_LOOP = {
    "n_steps": 1,
    "eval_steps": 0,
    "inner_lr": 0.1,
    "inner_rule": "sgd",
    "inner_decay": 0.0,
    "adapt_norms": False,
}
NO_NORM = {"per_step_bn": False, "per_step_stats": False, "norm_train": "batch", "norm_eval": "batch"}
NOT_DEEP = {"depth": 8, "batch_norm": True, "skips": False}
ALLOWED: dict[tuple[str, Any], dict[str, Any]] = {
    ("backbone", "conv4"): NOT_DEEP,
    ("backbone", "mlp"): {**NOT_DEEP, **NO_NORM, "max_pool": True},
    ("backbone", "resnet12"): {**NOT_DEEP, "max_pool": True},
    ("backbone", "deep"): {"max_pool": True},
    ("batch_norm", False): NO_NORM,
    ("method", "reptile"): NO_INNER_DERIVATIVE,
    ("method", "protonet"): {**NO_INNER_DERIVATIVE, **NO_INNER_LOOP},
}


def check_together(config: Any) -> None:
    """Raise if settings of a ``Config`` contradict each other.

    Raises:
        InputError: two settings contradict each other.
    """
    for sentence in itertools.chain(_network(config), _loops(config), _machine(config)):
        raise InputError(sentence)


def _loops(c: Any) -> Iterator[str]:
    learned_per_step = c.learn_inner_lrs and c.inner_lr_per == "tensor"
    if c.eval_steps > c.n_steps and (c.per_step_bn or c.per_step_stats or learned_per_step):
        yield (
            f"eval_steps = {c.eval_steps} is more than the {c.n_steps} steps of the per-step tables; "
            f"at most n_steps = {c.n_steps} is allowed"
        )
    if c.cosine_lr and c.min_outer_lr > c.outer_lr:
        yield (
            f"min_outer_lr = {c.min_outer_lr:g} is more than outer_lr = {c.outer_lr:g}, so the rate would "
            f"rise; 0 to {c.outer_lr:g} is allowed"
        )
    if c.multi_step_loss and c.msl_share == 0:
        yield "msl_share = 0 switches the multi_step_loss off; give more than 0, or no multi_step_loss"
    if c.first_order_share and not c.second_order:
        yield f"first_order_share = {c.first_order_share:g} has no meaning where second_order is off; 0 is allowed"
    if c.inner_lr_per == "number" and not c.learn_inner_lrs:
        yield "inner_lr_per = 'number' has no meaning where learn_inner_lrs is off; 'tensor' is allowed"


def _network(c: Any) -> Iterator[str]:
    for (field, value), allowed in ALLOWED.items():
        for name, only in allowed.items():
            if getattr(c, field) == value and getattr(c, name) != only:
                yield f"{name} = {getattr(c, name)!r} has no meaning for {field} = {value!r}; {only!r} is allowed"
    if c.data_path and c.dataset not in with_a_path():
        yield f"data_path = {c.data_path!r} has no meaning for {c.dataset}; leave it empty"


def _machine(c: Any) -> Iterator[str]:
    if c.engine == "eager" and c.tasks_per_chunk > 1:
        yield (
            f"tasks_per_chunk = {c.tasks_per_chunk} has no meaning where engine = 'eager', which takes one task "
            "after the other; 0 or 1 is allowed"
        )
    if c.autocast and c.dtype != "float32":
        yield f"autocast has no meaning where dtype = {c.dtype!r}; 'float32' is allowed"
    if c.tf32 and (c.dtype != "float32" or c.device in ("cpu", "mps")):
        name, value = ("device", c.device) if c.dtype == "float32" else ("dtype", c.dtype)
        yield f"tf32 has no meaning where {name} = {value!r}; it is for float32 on cuda"
    if c.device == "mps" and c.dtype != "float32":
        yield f"dtype = {c.dtype!r} does not exist on device = 'mps'; 'float32' is allowed there"
