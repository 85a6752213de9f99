"""The whole configuration of a run as one frozen dataclass, loaded strictly.

Unknown keys, values of the wrong type or outside their range, and contradictory values are errors that name the key,
the value and the allowed values. Every field is an option of ``mamlkit train``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from mamlkit.core.contradictions import check_together
from mamlkit.core.data_sources import SOURCES, with_a_path
from mamlkit.core.errors import InputError
from mamlkit.core.values import plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _option(
    default: Any,
    group: str,
    doc: str,
    *,
    choices: Collection[str] = (),
    low: float = -math.inf,
    high: float = math.inf,
    own: bool = False,
) -> Any:
    metadata = {"group": group, "help": doc, "choices": choices, "low": low, "high": high, "own": own}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """All settings of a run; the help text of each field explains it."""

    dataset: str = _option("glyphs", "Data", "Data set.", choices=SOURCES.keys())
    data_path: str = _option(
        "", "Data", f"Folder of the images or of the drawing sheets; only for {', '.join(with_a_path())}."
    )
    image_size: int = _option(28, "Data", "Height and width of an image in pixels.", low=16, high=224)
    rotation: str = _option(
        "none",
        "Data",
        "classes: each quarter turn of a class is a separate class, in every split (the paper's text); "
        "episodes: a random quarter turn per class and episode, in training only (the authors' code).",
        choices=("none", "classes", "episodes"),
    )
    n_way: int = _option(5, "Data", "Classes in an episode.", low=2)
    k_shot: int = _option(1, "Data", "Support images per class.", low=1)
    q_query: int = _option(5, "Data", "Query images per class in training.", low=1)
    eval_query: int = _option(5, "Data", "Query images per class in validation and test.", low=1)

    backbone: str = _option(
        "conv4",
        "Network",
        "Network, or your own as module:function; the function takes (config, image_shape) and returns the network.",
        choices=("conv4", "deep", "resnet12", "mlp"),
        own=True,
    )
    filters: int = _option(64, "Network", "Filters of a convolution, or units of a hidden layer.", low=1, high=4096)
    depth: int = _option(8, "Network", "Convolutions of the backbone deep.", low=4, high=12)
    batch_norm: bool = _option(True, "Network", "Batch norm in the backbone deep.")
    skips: bool = _option(False, "Network", "Skip connections in the backbone deep.")
    max_pool: bool = _option(True, "Network", "2x2 max-pooling; off: stride-2 convolutions and one global mean.")
    per_step_bn: bool = _option(False, "Network", "Separate batch-norm weights and biases for each inner step.")
    per_step_stats: bool = _option(False, "Network", "Separate running batch-norm statistics for each inner step.")
    norm_train: str = _option(
        "batch",
        "Network",
        "Batch-norm statistics of the query sets in training. batch: the query set's own; running: the recorded "
        "statistics, as constants.",
        choices=("batch", "running"),
    )
    norm_eval: str = _option(
        "batch",
        "Network",
        "Batch-norm statistics at evaluation. batch: the batch's own, so predictions depend on the other query images "
        "(transductive); running: the recorded statistics, so they do not.",
        choices=("batch", "running"),
    )

    n_steps: int = _option(5, "Inner loop", "Inner steps in training.", low=1, high=100)
    eval_steps: int = _option(0, "Inner loop", "Inner steps at evaluation; 0: as in training.", low=0, high=100)
    inner_lr: float = _option(0.1, "Inner loop", "Inner learning rate, or initial value of the learned rates.")
    learn_inner_lrs: bool = _option(False, "Inner loop", "Learn the inner rates, sign included.")
    inner_lr_per: str = _option(
        "tensor",
        "Inner loop",
        "Granularity of the inner rates. tensor: one rate for each tensor and step (LSLR); number: one rate for each "
        "number of each tensor, the same at all steps (Meta-SGD).",
        choices=("tensor", "number"),
    )
    inner_rule: str = _option(
        "sgd", "Inner loop", "Update rule of the inner loop.", choices=("sgd", "momentum", "adam")
    )
    inner_decay: float = _option(0.0, "Inner loop", "Weight decay of the inner loop.", low=0.0)
    adapt: str = _option("all", "Inner loop", "Tensors that the inner loop updates.", choices=("all", "head", "body"))
    adapt_norms: bool = _option(False, "Inner loop", "Adapt normalisation layers too.")

    method: str = _option(
        "maml",
        "Outer loop",
        "Meta-learning method. maml: learn the start of the inner loop; reptile: the same, without a derivative "
        "through the inner loop; protonet: learn an embedding in which class means classify, without an inner loop.",
        choices=("maml", "reptile", "protonet"),
    )
    n_tasks: int = _option(4, "Outer loop", "Tasks in a meta-batch.", low=1)
    outer_lr: float = _option(1e-3, "Outer loop", "Adam's learning rate.", low=0.0)
    beta2: float = _option(0.999, "Outer loop", "Adam's second-moment decay.", low=0.0, high=0.999999)
    cosine_lr: bool = _option(False, "Outer loop", "Anneal the outer rate by a cosine, epoch by epoch.")
    min_outer_lr: float = _option(1e-5, "Outer loop", "Outer rate at the end of the cosine.", low=0.0)
    second_order: bool = _option(True, "Outer loop", "Differentiate through the inner gradient.")
    first_order_share: float = _option(
        0.0, "Outer loop", "Share of the epochs that are first-order, at the start of the run.", low=0.0, high=1.0
    )
    multi_step_loss: bool = _option(False, "Outer loop", "Add the query losses after every inner step.")
    msl_share: float = _option(
        0.1, "Outer loop", "Share of the epochs over which the multi-step loss is annealed.", low=0.0, high=1.0
    )
    grad_clamp: float = _option(0.0, "Outer loop", "Clamp each meta-gradient entry to +- this value; 0: off.", low=0.0)
    grad_clip: float = _option(0.0, "Outer loop", "Clip the meta-gradient's norm to this value; 0: off.", low=0.0)
    on_nonfinite: str = _option(
        "stop", "Outer loop", "Reaction to a non-finite meta-gradient.", choices=("stop", "skip")
    )

    epochs: int = _option(25, "Run", "Epochs.", low=1)
    iterations_per_epoch: int = _option(100, "Run", "Meta-iterations in an epoch.", low=1)
    val_episodes: int = _option(200, "Run", "Fixed validation episodes after each epoch.", low=2)
    test_episodes: int = _option(600, "Run", "Fixed test episodes at the end.", low=2)
    ensemble: int = _option(1, "Run", "Number of best epochs whose logits are averaged in the test.", low=1)
    patience: int = _option(0, "Run", "Stop after this many epochs without a better validation; 0: off.", low=0)
    seed: int = _option(0, "Run", "Seed of the weights and the episodes.", low=0, high=2**31 - 1)
    device: str = _option(
        "auto",
        "Run",
        "Device. auto: cuda if present, else cpu; mps, an Apple GPU, is untested and never chosen by auto.",
        choices=("auto", "cpu", "cuda", "mps"),
    )
    dtype: str = _option("float32", "Run", "Precision.", choices=("float32", "float64"))
    engine: str = _option(
        "auto",
        "Run",
        "Engine for the meta-gradient. eager: one task after the other; vmap: several at once; compiled: conv4 in "
        "closed form, compiled for this processor; auto: the first to finish the run. The results are the same.",
        choices=("auto", "eager", "vmap", "compiled"),
    )
    tasks_per_chunk: int = _option(0, "Run", "Tasks computed at once; 0: the engine's default.", low=0)
    memory: str = _option(
        "normal",
        "Run",
        "low: recompute each inner step in the backward pass instead of storing it, so that memory does not grow with "
        "the number of steps.",
        choices=("normal", "low"),
    )
    autocast: bool = _option(
        False, "Run", "Convolutions and matrix products in bfloat16: faster if the processor supports it, less exact."
    )
    tf32: bool = _option(
        False, "Run", "Convolutions and matrix products in TF32 on CUDA: faster, less exact; other devices have none."
    )

    def __post_init__(self) -> None:
        """Check every field by itself, then the fields against each other."""
        for field in dataclasses.fields(self):
            value = plain(getattr(self, field.name), FIELD_TYPES[field.name])
            _check(field, value)
            object.__setattr__(self, field.name, value)
        check_together(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], base: Config | None = None) -> Config:
        """Return ``base`` (default: the defaults) with ``values`` set.

        Raises:
            InputError: a key is unknown (the error suggests the nearest key), or a value is not allowed.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else f"; allowed are {', '.join(names)}"
                raise InputError(f"unknown key {key!r} = {values[key]!r} in the configuration{hint}")
        return dataclasses.replace(base or cls(), **values)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, in order."""
        return dataclasses.asdict(self)

    def difference(self, base: Config) -> dict[str, Any]:
        """Return the fields in which this configuration differs from ``base``."""
        theirs = base.to_dict()
        return {key: value for key, value in self.to_dict().items() if value != theirs[key]}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a TOML file, as ``Config.from_dict`` takes them.

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


FIELD_TYPES: dict[str, type] = get_type_hints(Config)


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    kind: Any = FIELD_TYPES[field.name]
    if type(value) is not kind:
        raise InputError(f"{field.name} = {value!r} is of type {type(value).__name__}; {kind.__name__} is allowed")
    choices = field.metadata["choices"]
    if choices and value not in choices and not (field.metadata["own"] and ":" in value):
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"{field.name} = {value!r} is not allowed{hint}; choose one of {', '.join(choices)}")
    low, high = field.metadata["low"], field.metadata["high"]
    if kind in (int, float) and not (math.isfinite(value) and low <= value <= high):
        span = f"{low} or more" if high == math.inf else f"{low} to {high}"
        span = "any finite number" if low == -math.inf else span
        raise InputError(f"{field.name} = {value!r} is out of range; {span} is allowed")
