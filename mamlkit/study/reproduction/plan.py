"""A table, a scale, a data set and seeds: the cells, and their folder on disk.

plan.json                 the request, and the resolved configuration of every setting
cells/<setting>-seed<n>/  one cell, see ``mamlkit.study.reproduction.cell``
results.parquet           the measurements; see ``mamlkit.study.reproduction.measurements``
report.ipynb, report.html
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError, check_choice
from mamlkit.core.recipes import configure
from mamlkit.core.system.files import write_whole
from mamlkit.datasets import load
from mamlkit.runs.configurations import differing, read_config
from mamlkit.study.reproduction.table import Setting
from mamlkit.study.reproduction.tables import SCALES, TABLES, budget
from mamlkit.training.trainer import make_sampler

FORMAT = 1
FILE = "plan.json"
OWN = ("recipe", "seed", "dataset", "fast", "out")  # notebook parameters that only the grid sets
PLAIN = ("n_way", "k_shot", "epochs", "iterations_per_epoch", "val_episodes", "test_episodes")  # named parameters


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        name: name of its folder.
        setting: name of its line in the table.
        seed: seed of its weights and episodes.
        parameters: parameters of notebook 09, except ``out``.
        config: the resulting configuration.
    """

    name: str
    setting: str
    seed: int
    parameters: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A grid of runs.

    Attributes:
        table, scale, dataset: the request.
        parameters: parameters of notebook 09 that the user sets for every cell.
        seeds: the seeds; every setting runs with each of them.
        data_sha256: SHA-256 of the data set.
        image_shape: (C, H, W).
        settings: the settings in order, each with ``name``, ``label``, ``recipe`` and ``config`` with all fields but
            the seed.
    """

    table: str
    scale: str
    dataset: str
    parameters: dict[str, Any]
    seeds: tuple[int, ...]
    data_sha256: str
    image_shape: tuple[int, int, int]
    settings: tuple[dict[str, Any], ...]

    @property
    def cells(self) -> list[Cell]:
        """All runs, seed after seed, so that an interrupted grid has complete rounds."""
        return [_cell(setting, seed) for seed in self.seeds for setting in self.settings]

    @property
    def in_notebooks(self) -> bool:
        """Whether each run is notebook 09."""
        return TABLES[self.table].in_notebooks

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: Path | str) -> Plan:
        """Return the plan from its JSON values; an option that a setting lacks has its default value.

        Raises:
            InputError: a configuration has an unknown option or an invalid value; the message names ``source``.
        """
        settings = [{**s, "config": read_config(s["config"], source).to_dict()} for s in values["settings"]]
        tuples = {key: tuple(values[key]) for key in ("seeds", "image_shape")}
        return cls(**{**values, **tuples, "settings": tuple(settings)})

    def save(self, folder: Path) -> None:
        """Write ``plan.json``."""
        write_whole(folder / FILE, json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1).encode())


def make_plan(table: str, scale: str, dataset: str, seeds: tuple[int, ...], parameters: Mapping[str, Any]) -> Plan:
    """Resolve a request, and make sure that every cell can start.

    Args:
        table: a name in ``TABLES``.
        scale: a name in ``SCALES``.
        dataset: a name in ``mamlkit.datasets``; empty: the table's own.
        seeds: empty: the table's own.
        parameters: parameters of notebook 09 for every cell, validated by ``check_parameters``.

    Raises:
        InputError: a name or a value is not allowed, or the data are missing or do not suffice for the episodes.
    """
    check_choice("table", table, tuple(TABLES))
    check_choice("scale", scale, tuple(SCALES))
    dataset = dataset or TABLES[table].dataset
    sizes = budget(scale, dataset, table)
    wanted = TABLES[table].settings(sizes.get("n_tasks", 4))
    base = {"dataset": dataset, **sizes}
    _check_free(table, wanted, base, parameters)
    configs = {setting.name: _configure(setting, base, parameters) for setting in wanted}
    any_config = next(iter(configs.values()))
    store = load(dataset, path=any_config.data_path, image_size=any_config.image_size)
    for config in configs.values():
        for split in ("train", "val", "test"):
            sampler = make_sampler(store, config, split, training=split == "train")
    settings = tuple(
        {"name": s.name, "label": s.label, "recipe": s.recipe, "config": configs[s.name].to_dict()} for s in wanted
    )
    seeds = seeds or TABLES[table].seeds
    return Plan(
        table=table,
        scale=scale,
        dataset=dataset,
        parameters=dict(parameters),
        seeds=tuple(sorted(seeds)),
        data_sha256=store.sha256,
        image_shape=sampler.image_shape,
        settings=settings,
    )


def read_plan(folder: Path) -> Plan | None:
    """Return the plan of a folder, or None if there is none.

    Raises:
        InputError: the plan is damaged, or belongs to another version.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise InputError(f"{path} belongs to another version of mamlkit; choose another folder")
        return Plan.from_dict(values, path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({error}); restore a copy of it, or choose another folder") from error


def merge(kept: Plan, asked: Plan, folder: Path) -> Plan:
    """Return the plan of a folder, extended by the seeds of another plan.

    Raises:
        InputError: the plans differ in more than the seeds, or in the computation of the numbers.
    """
    for key in ("table", "scale", "dataset", "parameters", "data_sha256"):
        was, now = getattr(kept, key), getattr(asked, key)
        if was != now:
            raise InputError(f"{folder} holds results with {key} = {was!r}, not {now!r}; choose another folder")
    settings = {setting["name"]: setting["config"] for setting in kept.settings}
    for setting in asked.settings:
        name = setting["name"]
        if name not in settings:
            raise InputError(f"{folder} holds results without the setting {name}; choose another folder")
        for key, (was, now) in differing(Config(**settings[name]), Config(**setting["config"])).items():
            raise InputError(
                f"{folder} holds results of another configuration: {key} of {name} is {was!r}, not {now!r}; choose "
                "another folder"
            )
    return dataclasses.replace(kept, seeds=tuple(sorted({*kept.seeds, *asked.seeds})))


def check_parameters(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise if the notebook lacks a parameter, or if the grid itself sets it.

    Args:
        given: the user's parameters for every cell.
        known: the notebook's parameters by name.

    Raises:
        InputError: a name is unknown, or reserved for the grid.
    """
    free = [name for name in known if name not in OWN]
    overrides = given.get("overrides", {})
    if not isinstance(overrides, dict) or not all(isinstance(key, str) for key in overrides):
        raise InputError(f"parameter overrides = {overrides!r} is not a table of options; write it as {{filters: 16}}")
    for name, value in {**overrides, **given}.items():
        if name in OWN:
            raise InputError(f"parameter {name!r} = {value!r} is set by the table itself; free: {', '.join(free)}")
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, free, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(free)}"
            raise InputError(f"notebook 09 has no parameter {name!r} (= {value!r}); {hint}")


def _check_free(
    table: str, settings: Sequence[Setting], sizes: Mapping[str, Any], parameters: Mapping[str, Any]
) -> None:
    """Raise if a parameter would remove the differences between the lines of a table."""
    configs = [_configure(setting, sizes, {}).to_dict() for setting in settings]
    taken = {key for setting in settings for key in setting.overrides}
    taken |= {key for key in configs[0] if any(config[key] != configs[0][key] for config in configs)}
    for key, value in {**parameters, **parameters.get("overrides", {})}.items():
        if key in taken:
            raise InputError(
                f"parameter {key!r} = {value!r} is set by the lines of {table}; they set {', '.join(sorted(taken))}"
            )


def _configure(setting: Setting, sizes: Mapping[str, Any], parameters: Mapping[str, Any]) -> Config:
    plain = {key: value for key, value in parameters.items() if key != "overrides"}
    values = {"n_way": setting.n_way, "k_shot": setting.k_shot, "on_nonfinite": "skip", **sizes, **setting.overrides}
    config = configure(setting.recipe, **{**values, **plain, **parameters.get("overrides", {})})
    if config.data_path:  # the runs have their own working folders
        config = dataclasses.replace(config, data_path=os.path.abspath(os.path.expanduser(config.data_path)))
    return config


def _cell(setting: Mapping[str, Any], seed: int) -> Cell:
    config = {**setting["config"], "seed": seed}
    base = configure(setting["recipe"], dataset=config["dataset"], k_shot=config["k_shot"])
    changes = Config(**config).difference(base)
    parameters = {name: config[name] for name in ("dataset", "seed", *PLAIN)}
    overrides = {key: value for key, value in changes.items() if key not in parameters}
    parameters |= {"recipe": setting["recipe"], "fast": False, "overrides": overrides}
    return Cell(f"{setting['name']}-seed{seed}", setting["name"], seed, parameters, config)
