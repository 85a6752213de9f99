"""Write the tables of speed into the README: ``python data/show_speed.py``.

Every number comes from ``data/results/speed``. The files there are written by ``mamlkit bench --out
data/results/speed``, by the same command with ``--ui`` and with ``--beside-load``, and by ``python
data/compare_engines.py``.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SPEED = ROOT / "data" / "results" / "speed"
README = ROOT / "README.md"
SECTION = re.compile(r"(?<=<!-- speed -->\n).*?(?=\n<!-- end of speed -->)", re.DOTALL)
WORDS = {
    "W1": "5-way 1-shot, MAML",
    "W2": "20-way 1-shot, MAML",
    "W3": "20-way 1-shot, MAML++",
    "W4": "20-way 1-shot, first order",
    "W5": "5-way 5-shot, MAML",
    "W0": "5-way 1-shot, MAML, 8 filters",
}


def read(name: str) -> dict[str, Any]:
    """Return one of the files."""
    content: dict[str, Any] = json.loads((SPEED / name).read_text("utf-8"))
    return content


def speed_table() -> str:
    """Return times, memory and the compiled engine's speed-up, a row for each work."""
    content = read("records.json")
    engines = list(dict.fromkeys(record["engine"] for record in content["records"]))
    heads = [f"{engine}: ms (MiB)" for engine in engines]
    lines = ["| work | " + " | ".join(heads) + " | compiled / naive |", "|---" * (len(engines) + 2) + "|"]
    for work in dict.fromkeys(record["work"] for record in content["records"]):
        row = {record["engine"]: record for record in content["records"] if record["work"] == work}
        cells = [f"{row[engine]['ms_median']:.0f} ({row[engine]['peak_mib']:.0f})" for engine in engines]
        best = row["compiled"]
        gain = f"**{best['speedup_over_naive']:.2f}x**, {best['gflops']:.0f} GFLOP/s"
        lines.append(f"| {work}: {WORDS[work]} | " + " | ".join([*cells, gain]) + " |")
    return "\n".join(lines)


def profile_table() -> str:
    """Return the parts of the compiled engine's time, a column for each work."""
    works = read("profile.json")["works"]
    lines = ["| share of the compiled engine's time | " + " | ".join(works) + " |", "|---" * (len(works) + 1) + "|"]
    for kind in next(iter(works.values()))["shares"]:
        cells = [f"{one['shares'][kind]:.1%}" for one in works.values()]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(runs: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the mean accuracy over seeds, and half its 95 % interval over the test episodes of these seeds."""
    mean = sum(run["accuracy"] for run in runs) / len(runs)
    return mean, math.sqrt(sum(run["ci95"] ** 2 for run in runs)) / len(runs)


def accuracy_table() -> str:
    """Return the accuracy after training with each engine."""
    content = read("engines.json")
    seeds = [run["seed"] for run in next(iter(content["runs"].values()))]
    lines = ["| engine | " + " | ".join(f"seed {seed} (%)" for seed in seeds) + " | mean (%) |"]
    lines.append("|---" * (len(seeds) + 2) + "|")
    for way, runs in content["runs"].items():
        cells = [f"{100 * run['accuracy']:.2f} ± {100 * run['ci95']:.2f}" for run in runs]
        mean, half = interval(runs)
        lines.append(f"| {way} | " + " | ".join([*cells, f"{100 * mean:.2f} ± {100 * half:.2f}"]) + " |")
    return "\n".join(lines)


def waits_table() -> str:
    """Return the waits of a reader, a row for each kind, over all its pages."""
    rows = read("ui.json")["rows"]
    lines = ["| from (ms) | pages | median | p90 of the slowest | bound |", "|---" * 5 + "|"]
    for what in dict.fromkeys(row["what"] for row in rows):
        chosen = [row for row in rows if row["what"] == what]
        median = statistics.median(ms for row in chosen for ms in row["ms"])
        slowest, bound = max(row["p90"] for row in chosen), chosen[0]["bound"]
        cells = f"{len(chosen)} | {median:.0f} | {slowest:.0f} | {'' if bound is None else f'{bound:.0f}'}"
        lines.append(f"| {what} | {cells} |")
    return "\n".join(lines)


def load_table() -> str:
    """Return the cost of a busy process on every core, a row for each work and engine."""
    lines = ["| work, engine | quiet: ms | beside the load: ms | ratio | brief waiting costs |", "|---" * 5 + "|"]
    for row in read("load.json")["rows"]:
        times = f"{row['quiet_ms']:.0f} | {row['beside_ms']:.0f} | **{row['ratio']:.2f}x** | {row['cost']:+.1%}"
        lines.append(f"| {row['work']}, {row['engine']} | {times} |")
    return "\n".join(lines)


def section() -> str:
    """Return the text between the marks in the README."""
    return "\n\n".join(table() for table in (speed_table, profile_table, accuracy_table, load_table, waits_table))


def main() -> None:
    """Write the section."""
    text = README.read_text("utf-8")
    README.write_text(SECTION.sub(lambda _: section(), text), "utf-8")


if __name__ == "__main__":
    main()
