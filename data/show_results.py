"""Draw the committed results, and write their table into the README: ``python data/show_results.py``.

Every number comes from ``data/results/*.json``, the ``result.json`` of a run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mamlkit.show import plots

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "data" / "results"
README = ROOT / "README.md"
SECTION = re.compile(r"(?<=<!-- results -->\n).*?(?=\n<!-- end of results -->)", re.DOTALL)
NAMES = {"maml": "MAML", "mamlpp": "MAML++"}


def read_results() -> dict[str, dict[str, Any]]:
    """Return the results by file name, in the order of the names."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| task | recipe | transductive (%) | recorded (%) | test episodes | seeds | meta-iterations | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        task = f"{result['dataset']} {result['n_way']}-way {result['k_shot']}-shot"
        batch, running = (_accuracy(result["evaluations"][norm]) for norm in ("batch", "running"))
        seeds = ", ".join(map(str, result["seeds"]))
        cells = [task, f"[{result['recipe']}](data/results/{name})", batch, running, f"{result['episodes']}", seeds]
        lines.append("| " + " | ".join([*cells, f"{result['iterations']:,}", f"{result['minutes']:.0f}"]) + " |")
    return "\n".join(lines)


def draw(results: list[dict[str, Any]]) -> Figure:
    """Return the validation accuracy of runs on one task against meta-iterations."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.subplots()
    rows = {}
    for result in results:
        curves = zip(*(result["curves"][key] for key in ("iteration", "val_accuracy", "val_ci95")))
        name = NAMES.get(result["recipe"], result["recipe"])
        rows[name] = [{"iteration": i, "accuracy": accuracy, "ci95": ci95} for i, accuracy, ci95 in curves]
    plots.accuracy_curves(axes, rows)
    first = results[0]
    axes.set_title(
        f"{first['dataset'].capitalize()}, {first['n_way']}-way {first['k_shot']}-shot, seed {first['seeds'][0]}"
    )
    return figure


def _accuracy(evaluation: dict[str, Any]) -> str:
    return f"{100 * evaluation['accuracy']:.2f} ± {100 * evaluation['ci95']:.2f}"


def main() -> None:
    """Write the figure of each task and the README's table."""
    results = read_results()
    tasks = sorted({(r["dataset"], r["n_way"], r["k_shot"]) for r in results.values()})
    for dataset, n_way, k_shot in tasks:
        runs = [r for r in results.values() if (r["dataset"], r["n_way"], r["k_shot"]) == (dataset, n_way, k_shot)]
        figure = draw(runs)
        figure.savefig(RESULTS / f"{dataset}-{n_way}way-{k_shot}shot.png", dpi=110)
    text = README.read_text("utf-8")
    README.write_text(SECTION.sub(lambda _: table(results), text), "utf-8")


if __name__ == "__main__":
    main()
