"""Measure the growth of an iteration's time and memory with the inner steps and with the tasks."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from mamlkit.core.config import Config
from mamlkit.show.plots import STYLES
from mamlkit.study.bench.timing import time_in_turns

AXES = {"n_steps": (1, 5, 10, 20, 40), "n_tasks": (1, 2, 4, 8, 16, 32)}
LINES = (("compiled", "normal"), ("compiled", "low"), ("naive", "normal"))  # engine, memory
PATIENCE = 5e3  # milliseconds; the line of the textbook loop ends before an iteration takes longer
SAMPLES = 3
WORDS = {"n_steps": "inner steps", "n_tasks": "tasks"}
PANELS = {"ms_median": ("time of a meta-iteration (s)", 1e3), "peak_mib": ("peak memory of the process (GiB)", 2**10)}


class Point(NamedTuple):
    """One engine at one size.

    Attributes:
        axis, value: the field of the configuration that varies, and its value.
        engine, memory: see ``mamlkit.core.config.Config``; or the engine ``naive``.
        ms_median, ms_spread, peak_mib: see ``mamlkit.study.bench.records.Record``.
    """

    axis: str
    value: int
    engine: str
    memory: str
    ms_median: float
    ms_spread: float
    peak_mib: float

    @property
    def line(self) -> str:
        """The label in the legend."""
        return name(self.engine, self.memory)


def name(engine: str, memory: str) -> str:
    """Return the label of an engine in a legend.

    >>> name("compiled", "low")
    'compiled, memory low'
    """
    return engine if memory == "normal" else f"{engine}, memory {memory}"


def sizes(config: Config) -> Iterator[tuple[str, int, Config]]:
    """Yield each axis, each value on it, and the configuration with this value."""
    for axis, values in AXES.items():
        for value in values:
            yield axis, value, Config.from_dict({axis: value}, config)


def measure(
    config: Config, engines: Collection[str], samples: int, on_size: Callable[[], None] | None = None
) -> list[Point]:
    """Return the points of every line whose engine is among ``engines``.

    Args:
        config: configuration of the work; only the field of the axis varies.
        engines: the available engines, already compiled.
        samples: number of counted iterations for each point.
        on_size: called after each size.

    Raises:
        InputError: see ``mamlkit.study.bench.timing.time_in_turns``.
    """
    points: list[Point] = []
    for axis, value, sized in sizes(config):
        lines = [line for line in LINES if line[0] in engines and _expected(points, axis, value, line) < PATIENCE]
        contenders = [(engine, dataclasses.replace(sized, memory=memory)) for engine, memory in lines]
        for (engine, memory), timing in zip(lines, time_in_turns(contenders, samples)):
            points.append(Point(axis, value, engine, memory, timing.median, timing.iqr, timing.peak_mib))
        if on_size is not None:
            on_size()
    return points


def _expected(points: Sequence[Point], axis: str, value: int, line: tuple[str, str]) -> float:
    """Return the textbook loop's time in proportion to its last point; 0 for the other lines, which go to the end."""
    before = [point for point in points if point.axis == axis and (point.engine, point.memory) == line]
    return before[-1].ms_median * value / before[-1].value if before and line[0] == "naive" else 0.0


def png(points: Sequence[Point], *, title: str, description: str) -> bytes:
    """Return the figure of ``draw`` as a PNG file, with a description in its metadata."""
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    draw(figure, points, title=title)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, facecolor="white", metadata={"Description": description})
    return stream.getvalue()


def draw(figure: Figure, points: Sequence[Point], *, title: str) -> None:
    """Draw time and memory over each axis, one line for each engine.

    Args:
        figure: an empty figure.
        points: the result of ``measure``.
        title: the title of the figure.
    """
    panels = figure.subplots(len(PANELS), len(AXES), sharex="col", sharey="row", squeeze=False)
    for row, (field, (label, unit)) in zip(panels, PANELS.items()):
        row[0].set_ylabel(label)
        for axes, axis in zip(row, AXES):
            for line, (colour, dash) in zip(LINES, STYLES):
                chosen = [point for point in points if point.axis == axis and (point.engine, point.memory) == line]
                x, y = [point.value for point in chosen], [getattr(point, field) / unit for point in chosen]
                axes.plot(x, y, dash, color=colour, marker="o", ms=4, label=name(*line))
            axes.grid(alpha=0.3)
            axes.set_ylim(0)
    for axes, axis in zip(panels[-1], AXES):
        axes.set(xlabel=WORDS[axis], xticks=AXES[axis], xlim=(0, None))
    panels[0][0].legend(loc="upper left")
    figure.suptitle(title)
