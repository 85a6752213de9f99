"""Draw the committed reproductions, and write their tables into the README: ``python data/show_reproduction.py``.

Every number comes from ``data/results/reproduction/*.parquet``, each the ``results.parquet`` of ``mamlkit reproduce``.
Folders given as arguments are copied there first: ``python data/show_reproduction.py results/omniglot-*-laptop``. The
table of the atlas is shortened, by ``data/build_atlas.py``.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mamlkit.core.config import Config
from mamlkit.show.numbers import percent, share_of
from mamlkit.study.reproduction import atlas_views, figures, measurements, paper, report, summary
from mamlkit.study.stored import atlas

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "data" / "results" / "reproduction"
README = ROOT / "README.md"
SECTION = re.compile(r"(?<=<!-- reproduction -->\n).*?(?=\n<!-- end of reproduction -->)", re.DOTALL)
ABLATIONS = {"Omniglot": "omniglot-ablation-omniglot", "glyphs": "omniglot-ablation-glyphs"}
STABILITY = "stability-omniglot"
ATLAS = "atlas-glyphs"
DPI = 110
PICTURES = {
    **{f"{name}-accuracy": (name, figures.accuracies) for name in ABLATIONS.values()},
    **{f"{name}-effects": (name, figures.differences) for name in ABLATIONS.values()},
    f"{STABILITY}-curves": (STABILITY, figures.curves),
    f"{ATLAS}-map": (ATLAS, atlas_views.atlas_map),
}


def read(name: str) -> pd.DataFrame:
    """Return one of the tables."""
    return measurements.read(RESULTS / f"{name}.parquet")


def sha256(name: str) -> str:
    """Return the digest of a table, which its figures contain as metadata."""
    return hashlib.sha256((RESULTS / f"{name}.parquet").read_bytes()).hexdigest()


def take(folder: Path) -> None:
    """Copy the table of a grid."""
    plan = measurements.plan_of(measurements.read(folder / report.TABLE))
    RESULTS.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / report.TABLE, RESULTS / f"{plan.table}-{plan.dataset}.parquet")


def ablation_table() -> str:
    """Return each fix's accuracy and its difference, for both data sets."""
    frames = {title: read(name) for title, name in ABLATIONS.items()}
    heads = [f"{title} (%) | minus MAML" for title in frames]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (1 + 2 * len(heads)) + "|"]
    effects = {title: {e.setting: e for e in summary.effects(frame).itertuples()} for title, frame in frames.items()}
    rows = {
        title: {row.setting: row for row in summary.settings(frame).itertuples()} for title, frame in frames.items()
    }
    for setting, first in rows["Omniglot"].items():
        cells = [first.label]
        for title in frames:
            row, effect = rows[title][setting], effects[title].get(setting)
            cells.append(f"{percent(row.accuracy, row.over_seeds)} ({percent(row.pooled)})")
            cells.append(
                f"{percent(effect.difference, effect.over_seeds, sign='+')}, {effect.verdict}" if effect else ""
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def lead() -> str:
    """Return the overlaps of the intervals of MAML and MAML++."""
    told = []
    for title, name in ABLATIONS.items():
        rows = {row.setting: row for row in summary.settings(read(name)).itertuples()}
        gain = rows["mamlpp"].accuracy - rows["maml"].accuracy
        for what, key in (("the episodes", "pooled"), ("the seeds", "over_seeds")):
            apart = gain - getattr(rows["mamlpp"], key) - getattr(rows["maml"], key)
            verdict = "apart" if apart > 0 else f"not: they overlap by {-100 * apart:.2f} points"
            told.append(f"| {title} | {what} | {verdict} |")
    head = "| intervals of MAML and MAML++ on | over | are apart |\n|---|---|---|"
    return "\n".join([head, *told])


def stability_table() -> str:
    """Return the numbers of strided runs that diverged or were unstable."""
    frame = read(STABILITY)
    means = {row.setting: row for row in summary.settings(frame).itertuples()}
    lines = ["| | runs | diverged | diverged or unstable | accuracy (%) | sd over runs |", "|---" * 6 + "|"]
    for row in summary.failures(frame).itertuples():
        mean = means[row.setting]
        shares = [f"{row.diverged} ({100 * row.diverged_low:.0f} to {100 * row.diverged_high:.0f} %)"]
        shares.append(f"{row.either} ({100 * row.either_low:.0f} to {100 * row.either_high:.0f} %)")
        cells = [row.label, f"{row.n_runs}", *shares, percent(mean.accuracy, mean.over_seeds), percent(mean.sd)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def atlas_table() -> str:
    """Return the dead runs of each network and method, at 5 or 10 inner steps and inner rates from 0.1 on."""
    stored = atlas.read()
    lines = ["| dead runs | " + " | ".join(stored.networks.values()) + " |", "|---" * (1 + len(stored.networks)) + "|"]
    for method, label in stored.methods.items():
        cells = [label]
        for network in stored.networks:
            dead, n = stored.runs(network, method, least_steps=5, least_rate=0.1)
            found = summary.share(dead, n)
            cells.append(share_of(dead, n, low=found["low"], high=found["high"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def budget() -> str:
    """Return a sentence that compares the budget with the paper's."""
    plan = measurements.plan_of(read(ABLATIONS["Omniglot"]))
    config = Config(**plan.settings[0]["config"])
    iterations = config.epochs * config.iterations_per_epoch
    share = 100 * iterations * config.n_tasks / paper.training_tasks("omniglot", 1)
    theirs = paper.EPOCHS * paper.ITERATIONS_PER_EPOCH
    return (
        f"**Budget:** {iterations:,} meta-iterations of {config.n_tasks} tasks with {config.filters} filters, where "
        f"the paper has {theirs:,} of {paper.TASKS['omniglot', 1]}: {share:.2g} % of its training tasks. Adam's rate "
        f"is {config.outer_lr:g} in place of its 0.001, for MAML and every fix alike. Do not compare these numbers "
        "with the paper's; they show what the fixes do early in training."
    )


def section() -> str:
    """Return the text between the marks in the README."""
    return f"{budget()}\n\n{ablation_table()}\n\n{lead()}\n\n{stability_table()}\n\n{atlas_table()}"


def draw(name: str) -> Figure:
    """Return a figure by the name of its file."""
    table, make = PICTURES[name]
    return make(read(table))


def main() -> None:
    """Copy the given tables, draw the figures, and write the section."""
    for folder in sys.argv[1:]:
        take(Path(folder))
    for name in PICTURES:
        metadata = {"Source": sha256(PICTURES[name][0])}
        draw(name).savefig(RESULTS / f"{name}.png", dpi=DPI, facecolor="white", metadata=metadata)
    text = README.read_text("utf-8")
    README.write_text(SECTION.sub(lambda _: section(), text), "utf-8")


if __name__ == "__main__":
    main()
