"""The parts of a table: its settings, and the settings of the runs on each line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One line of a table.

    Attributes:
        name: unique in its table; part of folder names.
        label: text for the reader.
        recipe: see ``mamlkit.core.recipes.RECIPES``.
        n_way, k_shot: way and shot of its episodes.
        overrides: further fields of the configuration.
    """

    name: str
    label: str
    recipe: str
    n_way: int = 20
    k_shot: int = 1
    overrides: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Table:
    """A table of the paper, or one that the paper lacks.

    Attributes:
        title: text for the reader.
        about: the question that it answers, in one or two sentences.
        dataset: the data set of the paper.
        settings: number of tasks in a meta-batch -> the lines of the table.
        seeds: the default seeds.
        sizes: scale -> fields of the configuration that replace those of ``mamlkit.study.reproduction.tables.SCALES``.
        in_notebooks: each run is notebook 09; otherwise it is trained without a notebook, as suits hundreds of short
            runs.
        report: source of the report in this folder, a notebook in Markdown.
    """

    title: str
    about: str
    dataset: str
    settings: Callable[[int], list[Setting]] = field(repr=False)
    seeds: tuple[int, ...] = (0, 1, 2)
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    in_notebooks: bool = True
    report: str = "report.md"
