"""Recompute meta-iterations recorded from the authors' code, and measure the differences.

A golden case is one ``.npz`` file: a configuration, a start, a meta-batch, and the results of one meta-iteration in
float64. Only this module translates its names (``conv0``, ``norm0.gamma``) to ours (``convs.0``, ``norms.0.weight``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mamlkit import engines
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.problem import MetaParams
from mamlkit.core.schedules import StepConfig, last_step_only, msl_weights
from mamlkit.core.system.files import BAD_ARCHIVE, why
from mamlkit.engines import Choice
from mamlkit.training.learner import MetaLearner

CASES = Path(__file__).parent / "golden_cases"
TOLERANCE = 1e-10
# The authors' constructors pass blank images through step 0 twice to infer the layers' shapes. Each pass keeps
# 0.9 of the variance, in float32, so their first row starts at 0.81 and all other rows start at 1.
FIRST_ROW_VAR = float(np.float32(0.9) * np.float32(0.9))
QUANTITIES = (
    "loss",
    "query_logits_last_step",
    "grad",
    "grad_inner_lr",
    "after_adam",
    "after_adam_inner_lr",
    "running_after",
)
REQUIRED_ARRAYS = ("config", "support_x", "support_y", "query_x", "query_y", "loss", "query_logits_last_step")
REQUIRED_KEYS = ("n_way", "K", "filters", "inner_lr", "lslr", "per_step_bn", "msl", "msl_epochs", "epoch", "max_pool")

Arrays = dict[str, npt.NDArray[Any]]


def find_cases(folder: Path) -> list[Path]:
    """Return the golden files of a folder, sorted by name.

    Raises:
        InputError: there is no such folder, or no ``.npz`` file in it.
    """
    if not folder.is_dir():
        raise InputError(f"--golden {folder} is not a folder; give one that holds .npz files")
    cases = sorted(folder.glob("*.npz"))
    if not cases:
        raise InputError(f"--golden {folder} holds no .npz file; at least one is needed")
    return cases


def read_case(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Return the settings and the arrays of a golden file.

    Raises:
        InputError: the file is not a golden case.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        missing = [name for name in REQUIRED_ARRAYS if name not in arrays]
        settings = json.loads(str(arrays["config"])) if not missing else {}
        missing = missing or [name for name in REQUIRED_KEYS if not isinstance(settings.get(name), (int, float))]
    except BAD_ARCHIVE as error:
        raise InputError(f"{path} is not a golden case: {why(error)}") from error
    if missing:
        raise InputError(f"{path} is not a golden case: it lacks {', '.join(missing)}")
    return settings, arrays


def compare_case(path: Path, engine: str = "eager") -> dict[str, float]:
    """Return the largest absolute difference of each quantity of a golden file, in the order of ``QUANTITIES``.

    Quantities that the file lacks are left out; plain MAML, for example, has no learned rates.

    Args:
        path: the golden file.
        engine: ``"eager"``, ``"vmap"`` or ``"compiled"``, see ``mamlkit.engines``.

    Raises:
        InputError: the file is not a golden case, or the engine cannot run here.
    """
    settings, arrays = read_case(path)
    try:
        _check_input(settings, arrays)
        ours = recompute(settings, arrays, engine)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    differences: dict[str, float] = {}
    for quantity in QUANTITIES:
        names = [name for name in arrays if name == quantity or name.startswith(f"{quantity}/")]
        if names:
            found = [_distance(ours.get(name), arrays[name], f"{path}: {name}") for name in names]
            differences[quantity] = float(np.max(found))  # keeps NaN, unlike max()
    return differences


def recompute(settings: Mapping[str, Any], arrays: Arrays, engine: str = "eager") -> Arrays:
    """Return our own results for a golden case, under the file's own names."""
    learner = _learner(settings, arrays)
    names = ("support_x", "support_y", "query_x", "query_y")
    batch = Episode(*(torch.from_numpy(arrays[name]) for name in names))
    choice = Choice(engine, 1 if engine == "eager" else len(batch.support_x), ())
    compute = engines.make(choice, learner.problem, learner.config)
    step = compute(learner.meta, learner.buffers, batch, _step_config(settings, arrays))
    if not learner.apply(step._replace(gradient=_settle_noise(learner, step.gradient, arrays)), epoch=0):
        raise InputError("the recomputed meta-gradient is not finite")
    return _collect(learner, step)


def _settle_noise(learner: MetaLearner, gradient: MetaParams, arrays: Arrays) -> MetaParams:
    """Use the file's gradient where it is zero within the tolerance, as for a bias before batch norm.

    The rest is rounding noise there, and Adam's first step, g / (|g| + 1e-8), would magnify it 1e5 times.
    """

    def settle(ours: Tensor, name: str) -> Tensor:
        if name not in arrays:
            return ours
        theirs = torch.from_numpy(_expect(arrays, name, ours.shape))
        return torch.where(theirs.abs() < TOLERANCE, theirs, ours)

    rates = [settle(row, f"grad_inner_lr/{_theirs(name)}") for row, name in zip(gradient.inner_lrs, learner.rows)]
    model = {name: settle(value, f"grad/{_theirs(name)}") for name, value in gradient.model.items()}
    return MetaParams(model, {"inner_lrs": torch.stack(rates)})


def _learner(settings: Mapping[str, Any], arrays: Arrays) -> MetaLearner:
    config = Config(
        n_way=settings["n_way"],
        filters=settings["filters"],
        beta2=0.999,
        max_pool=settings["max_pool"],
        per_step_bn=settings["per_step_bn"],
        per_step_stats=settings["per_step_bn"],
        n_steps=settings["K"],
        inner_lr=settings["inner_lr"],
        learn_inner_lrs=settings["lslr"],
        device="cpu",
        dtype="float64",
    )
    learner = MetaLearner.from_config(config, arrays["support_x"].shape[2:])
    start = {
        f"model/{name}": torch.from_numpy(_expect(arrays, f"init/{_theirs(name)}", value.shape))
        for name, value in learner.params.items()
    }
    if any(name.startswith("init_inner_lr/") for name in arrays):
        rates = [_expect(arrays, f"init_inner_lr/{_theirs(name)}", (config.n_steps,)) for name in learner.rows]
        start["inner_lrs"] = torch.from_numpy(np.stack(rates))
    learner.load_state({**learner.state(), **start})
    for name, value in learner.buffers.items():
        if name.endswith("running_var") and value.dim() == 2:
            value[0] = FIRST_ROW_VAR
    return learner


def _step_config(settings: Mapping[str, Any], arrays: Arrays) -> StepConfig:
    """Take the multi-step weights from the file, rounded to float32 there, and compare them with our formula."""
    weights = last_step_only(settings["K"])
    if settings["msl"] and settings["epoch"] < settings["msl_epochs"]:
        weights = msl_weights(settings["K"], settings["epoch"], settings["msl_epochs"])
        weights = tuple(float(np.float32(weight)) for weight in weights)  # the authors' code rounds them in this way
        if "msl_weights" in arrays:
            theirs = tuple(arrays["msl_weights"].tolist())
            if not np.allclose(weights, theirs, rtol=0, atol=1e-6):
                raise InputError(f"msl_weights = {theirs} differ from those of the epoch, {weights}")
            weights = theirs
    return StepConfig(weights, second_order=settings["epoch"] > settings.get("first_order_to_second_order_epoch", -1))


def _collect(learner: MetaLearner, step: MetaStep) -> Arrays:
    found: dict[str, Tensor] = {"loss": step.loss, "query_logits_last_step": step.trace.query_logits}
    for name, value in step.gradient.model.items():
        found[f"grad/{_theirs(name)}"] = value
        found[f"after_adam/{_theirs(name)}"] = learner.params[name]
    for row, name in enumerate(learner.rows):
        found[f"grad_inner_lr/{_theirs(name)}"] = step.gradient.inner_lrs[row]
        found[f"after_adam_inner_lr/{_theirs(name)}"] = learner.inner_lrs[row]
    for name, value in learner.buffers.items():
        layer, kind = re.fullmatch(r"norms\.(\d+)\.running_(\w+)", name).groups()  # type: ignore[union-attr]
        found[f"running_after/norm{layer}.{kind}"] = value
    return {name: value.detach().numpy() for name, value in found.items()}


def _check_input(settings: Mapping[str, Any], arrays: Arrays) -> None:
    for part in ("support", "query"):
        x = arrays[f"{part}_x"]
        if x.ndim != 5 or 0 in x.shape or x.dtype != np.float64:
            raise InputError(f"{part}_x is {x.dtype} {x.shape}; float64 [tasks, images, C, H, W] is needed")
        y = _expect(arrays, f"{part}_y", x.shape[:2])
        if y.dtype != np.int64 or y.min() < 0 or y.max() >= settings["n_way"]:
            raise InputError(f"{part}_y has {y.dtype} labels {y.min()} to {y.max()}; n_way = {settings['n_way']}")


def _expect(arrays: Arrays, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if name not in arrays:
        raise InputError(f"{name} is missing; its configuration needs it")
    if arrays[name].shape != tuple(shape):
        raise InputError(
            f"{name} has shape {arrays[name].shape}; {tuple(shape)} is the shape that its configuration gives"
        )
    return arrays[name]


def _theirs(name: str) -> str:
    name = re.sub(r"^(conv|norm)s\.(\d+)", r"\1\2", name)
    return name.replace("weight", "gamma").replace("bias", "beta") if name.startswith("norm") else name


def _distance(ours: npt.NDArray[Any] | None, theirs: npt.NDArray[Any], name: str) -> float:
    if ours is None:
        raise InputError(f"{name} is unknown; its configuration gives no such array")
    if ours.shape != theirs.shape:
        raise InputError(f"{name} has shape {theirs.shape}; {ours.shape} is the shape that its configuration gives")
    return float(np.abs(ours - theirs).max())
