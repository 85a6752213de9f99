"""``mamlkit bench``: time the engines against the textbook loop, and show their limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from mamlkit.commands import bench_load, bench_ui, progress
from mamlkit.core.config import Config
from mamlkit.core.errors import InputError, check_choice
from mamlkit.core.system.files import check_writable, write_whole
from mamlkit.core.system.imports import check_installed, lazily
from mamlkit.study.bench import load
from mamlkit.study.bench.breakdown import ITERATIONS, Breakdown, breakdown
from mamlkit.study.bench.iteration import Iteration, obstacle
from mamlkit.study.bench.peak import convolution_peak
from mamlkit.study.bench.records import Record, about, flop, records
from mamlkit.study.bench.timing import time_in_turns
from mamlkit.study.bench.workloads import ENGINES, WORKLOADS, Work, choose

if TYPE_CHECKING:
    from mamlkit.study.bench.growth import Point

growth = lazily("mamlkit.study.bench.growth")  # with matplotlib, which loads slowly

FOLDER = Path("bench")
FILES = ("records.json", "growth.json", "growth.png", "profile.json")


@click.command(name="bench")
@click.option("--work", metavar="NAME,...", default=",".join(WORKLOADS), show_default=True, help="Works to time.")
@click.option("--against", metavar="ENGINE", default="naive", show_default=True, help="Engine to compare with.")
@click.option(
    "--samples", type=click.IntRange(1), default=7, show_default=True, help="Timed iterations of each engine."
)
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the records, as JSON.")
@click.option(
    "--out", type=click.Path(path_type=Path), help=f"Folder of the files.  [default: {FOLDER}; with --json none]"
)
@click.option("--beside-load", is_flag=True, help="Measure instead the cost of a busy process on every core.")
@click.option("--ui", is_flag=True, help="Measure instead the waits of a reader of the course, in a real browser.")
def command(
    *, work: str, against: str, samples: int, as_json: bool, out: Path | None, beside_load: bool, ui: bool
) -> None:
    """Time one meta-iteration (forward, meta-gradient, Adam) of each engine on each work.

    \b
    W1  5-way 1-shot, 1 query per class, 8 tasks; MAML
    W2  20-way; otherwise as W1
    W3  MAML++ with a loss at every step; otherwise as W2
    W4  first-order MAML; otherwise as W2
    W5  5-way 5-shot, 15 queries per class, 4 tasks; MAML
    W0  5-way 1-shot, 1 query per class, 4 tasks; MAML, 8 filters: the size of the course's notebooks

    All works use Conv4, with 64 filters but for W0, 28x28 glyphs and 5 inner steps. The engines are naive (the textbook
    loop), eager, vmap and compiled. Each engine has a fresh process, and the engines take turns, one iteration each. ms
    is the median, IQR the interquartile range. GFLOP/s counts the arithmetic of the work; share compares it with the
    fastest 64-to-64 3x3 convolution on 14x14 on this machine. Memory is the peak of the whole process, including Python
    and torch.

    Afterwards, measure time and memory against inner steps and tasks on the first work, and break down the compiled
    engine's time for each work. The folder gets records.json, growth.json, growth.png and profile.json.
    """  # noqa: D301 - click's mark for lines that it must not wrap
    if beside_load:
        engines = _prepare([*load.works().values()], "eager")
        bench_load.run(out or FOLDER, [engine for engine in engines if engine != "naive"], samples)
        return
    if ui:
        bench_ui.measure(out or FOLDER, samples)
        return
    works = choose(work)
    check_choice("engine", against, ENGINES)
    folder = out if as_json else out or FOLDER
    if folder is not None:
        check_installed("the figure of mamlkit bench", ("matplotlib",), extra="plots")
        for name in FILES:
            check_writable(folder / name)
    engines = _prepare([each.config for each in works], against)
    peak = convolution_peak()
    found = _time(works, engines, samples, peak, against="" if as_json else against)
    if folder is not None:
        configs = {each.name: each.config.to_dict() for each in works}
        rows = [record._asdict() for record in found]
        _write(folder / "records.json", about(configs, samples), {"convolution_gflops": peak, "records": rows})
        _grow(folder, works[0], engines, min(samples, growth.SAMPLES), quiet=as_json)
        _profile(folder, works, engines, about(configs, ITERATIONS), quiet=as_json)
    if as_json:
        click.echo(json.dumps([record._asdict() for record in found], indent=2))
    else:
        click.echo(f"The numbers are in {folder}: {', '.join(FILES)}")


def _bar(title: str, total: int, unit: str) -> Any:
    return tqdm(desc=title, total=total, unit=unit, leave=False, dynamic_ncols=True, disable=None)


def _prepare(configs: Sequence[Config], against: str) -> list[str]:
    """Compile the code of the engines and return the available ones; print the reason for each missing engine."""
    reasons: dict[str, str] = {}
    with progress.compiling() as move:
        for engine in ENGINES:
            for config in configs:
                reason = reasons.get(engine) or obstacle(engine, config, move)
                if reason:
                    reasons[engine] = reason
    if against in reasons:
        raise InputError(f"--against {against} is not possible: {reasons[against]}")
    for engine, reason in reasons.items():
        click.echo(f"{engine} is left out: {reason}", err=True)
    return [engine for engine in ENGINES if engine not in reasons]


def _time(works: Sequence[Work], engines: Sequence[str], samples: int, peak: float, *, against: str) -> list[Record]:
    """Return the records; print a table of each work if there is an engine to compare ``against``."""
    found: list[Record] = []
    for work in works:
        with _bar(work.name, samples * len(engines), "it") as bar:
            timings = time_in_turns([(engine, work.config) for engine in engines], samples, bar.update)
        found += records(work, timings, peak)
        if against:
            _show_records(work, found[-len(engines) :], against, peak)
    return found


def _grow(folder: Path, work: Work, engines: Sequence[str], samples: int, *, quiet: bool) -> None:
    sized = list(growth.sizes(work.config))
    if "compiled" in engines:
        with _bar("compiling for growth", len(sized), "size") as bar:
            for *_, config in sized:
                obstacle("compiled", config)
                bar.update()
    with _bar(f"growth of {work.name}", len(sized), "size") as bar:
        points = growth.measure(work.config, engines, samples, bar.update)
    settings = about({work.name: work.config.to_dict()}, samples)
    _write(folder / "growth.json", settings, {"points": [point._asdict() for point in points]})
    write_whole(folder / "growth.png", growth.png(points, title=work.title, description=json.dumps(settings)))
    if not quiet:
        _show_growth(work, points)


def _profile(
    folder: Path, works: Sequence[Work], engines: Sequence[str], settings: dict[str, Any], *, quiet: bool
) -> None:
    found = {}
    with _bar("profile", len(works), "work") as bar:
        for work in works if "compiled" in engines else ():
            found[work.name] = breakdown(Iteration("compiled", work.config))
            bar.update()
    _write(folder / "profile.json", settings, {"works": {name: one._asdict() for name, one in found.items()}})
    if found and not quiet:
        _show_profile(found)


def _write(path: Path, settings: dict[str, Any], content: dict[str, Any]) -> None:
    write_whole(path, json.dumps({**settings, **content}, indent=2).encode() + b"\n")


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left")
    return table


def _show_records(work: Work, found: Sequence[Record], against: str, peak: float) -> None:
    [base] = [record.ms_median for record in found if record.engine == against]
    table = _table(work.title, "engine", "ms", "IQR", f"x {against}", "GFLOP/s", "share", "peak MiB")
    table.caption = f"{flop(work) / 1e9:.3g} GFLOP; share: of {peak:.0f} GFLOP/s, the speed of convolutions alone"
    for record in found:
        times = f"{record.ms_median:.1f}", f"{record.ms_spread:.1f}", f"{base / record.ms_median:.2f}"
        rates = f"{record.gflops:.1f}", f"{record.peak_share:.0%}", f"{record.peak_mib:.0f}"
        table.add_row(record.engine, *times, *rates)
    Console().print(table)


def _show_growth(work: Work, points: Sequence[Point]) -> None:
    lines = list(dict.fromkeys(point.line for point in points))
    table = _table(f"Growth of {work.name}: ms (peak MiB)", "", *lines)
    for axis, value in dict.fromkeys((point.axis, point.value) for point in points):
        there = {point.line: point for point in points if (point.axis, point.value) == (axis, value)}
        cells = (f"{there[x].ms_median:.0f} ({there[x].peak_mib:.0f})" if x in there else "-" for x in lines)
        table.add_row(f"{value} {growth.WORDS[axis]}", *cells)
    Console().print(table)


def _show_profile(found: dict[str, Breakdown]) -> None:
    first = next(iter(found.values()))
    table = _table("Parts of the compiled engine's time", "", *found)
    for kind in first.shares:
        table.add_row(kind, *(f"{one.shares[kind]:.1%}" for one in found.values()))
    Console().print(table)
