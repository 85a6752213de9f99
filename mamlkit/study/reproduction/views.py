"""The sections of the report: the summaries as sentences and tables of a notebook."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mamlkit.core.config import Config
from mamlkit.show.numbers import percent, share_of
from mamlkit.study.reproduction import paper, summary
from mamlkit.study.reproduction.measurements import labels, plan_of
from mamlkit.study.reproduction.plan import Plan
from mamlkit.study.reproduction.shown import View, markdown, table
from mamlkit.study.reproduction.tables import TABLES

OTHER = {"batch": "recorded", "running": "the query set's"}  # the statistics that ``norm_eval`` does not name


def title(frame: pd.DataFrame) -> View:
    """Return the heading and the question of the table."""
    about = TABLES[plan_of(frame).table]
    return markdown(f"# {about.title}\n\n{about.about}")


def what_was_run(frame: pd.DataFrame) -> View:
    """Return the request, its finished runs, and the ratio of the budget to the paper's."""
    plan = plan_of(frame)
    missing = [cell.name for cell in plan.cells if cell.name not in frame.attrs["cells"]]
    given = "".join(f", {name} = {value!r}" for name, value in plan.parameters.items())
    lines = [
        f"- **Table** `{plan.table}`, scale `{plan.scale}`{given}",
        f"- **Data** {plan.dataset}, SHA-256 `{plan.data_sha256}`",
        f"- **Seeds** {', '.join(map(str, plan.seeds))}; **runs** {len(frame.attrs['cells'])} of {len(plan.cells)}",
        f"- **Budget** {_budget(plan)}",
    ]
    if missing:
        lines.append(f"- **Missing runs** {', '.join(f'`{name}`' for name in missing)}: no number below contains them")
    return markdown("\n".join(lines))


def _budget(plan: Plan) -> str:
    shares, sizes = set(), set()
    for setting in plan.settings:
        config = Config(**setting["config"])
        iterations = config.epochs * config.iterations_per_epoch
        sizes.add(f"{iterations:,} meta-iterations of {config.n_tasks} tasks")
        shares.add(100 * iterations * config.n_tasks / paper.training_tasks(plan.dataset, config.k_shot))
    part = " to ".join(dict.fromkeys(f"{share:.2g}" for share in (min(shares), max(shares))))
    known = plan.dataset in {dataset for dataset, _ in paper.TASKS}
    stranger = "" if known else f"; {plan.dataset} is not one of its data sets, so its numbers are no target here"
    return f"{' or '.join(sorted(sizes))} in each run: {part} % of the paper's training tasks{stranger}"


def results(frame: pd.DataFrame) -> View:
    """Return the accuracy of each setting with its intervals."""
    norms = {setting["name"]: setting["config"]["norm_eval"] for setting in plan_of(frame).settings}
    return table(
        [
            {
                "setting": row.label,
                "seeds": row.n_seeds,
                "accuracy (%), ± over seeds": percent(row.accuracy, row.over_seeds),
                "sd over seeds": percent(row.sd),
                "± over episodes, one run": percent(row.ci95),
                "± over all episodes": percent(row.pooled),
                "episodes": row.episodes,
                "other statistics (%), ± over seeds": percent(row.other_accuracy, row.other_over_seeds)
                + f" ({OTHER[norms[row.setting]]})",
                "minutes": f"{row.minutes:.1f}",
                "steps refused": row.refused,
            }
            for row in summary.settings(frame).itertuples()
        ]
    )


def paper_numbers(frame: pd.DataFrame) -> View:
    """Return the paper's numbers for the same tasks, marked by the kind of their source."""
    plan = plan_of(frame)
    tasks = dict.fromkeys(tuple(setting["config"][key] for key in summary.TASK) for setting in plan.settings)
    same_task = [row for task in tasks for row in paper.PAPER if (row.n_way, row.k_shot) == task]
    rows = [row for row in same_task if row.dataset == plan.dataset] or same_task
    if not rows:
        return markdown("The paper has no established number of this task, on any data set.")
    return table(
        [
            {
                "data set": row.dataset
                if row.dataset == plan.dataset
                else f"{row.dataset}, no target for {plan.dataset}",
                "task": f"{row.n_way}-way {row.k_shot}-shot",
                "method": row.method + (f", {row.n_steps} inner step{'s' * (row.n_steps > 1)}" if row.n_steps else ""),
                "accuracy (%)": f"{row.accuracy:.2f}" + (f" ± {row.after:.2f}" if row.after else ""),
                "what ± is": paper.MEANS[row.method] if row.after else "–",
                "how well established": row.source.replace("+-", "±"),
            }
            for row in rows
        ]
    )


def effects(frame: pd.DataFrame) -> View:
    """Return the difference of each setting from its reference, with its interval and verdict."""
    found = summary.effects(frame)
    if found.empty:
        return markdown("There is nothing to compare: no setting has a seed in common with the first of its task.")
    return table(
        [
            {
                "setting": row.label,
                "minus": row.reference,
                "pairs of runs": row.n_seeds,
                "difference (points), ± over seeds": f"{percent(row.difference, row.over_seeds, sign='+')}",
                "verdict": row.verdict,
            }
            for row in found.itertuples()
        ]
    )


def failures(frame: pd.DataFrame) -> View:
    """Return the share of runs that diverged, and of those that diverged or were unstable, with Wilson's intervals."""

    def share(row: Any, name: str) -> str:
        count, low, high = (getattr(row, each) for each in (name, f"{name}_low", f"{name}_high"))
        return share_of(count, row.n_runs, low=low, high=high)

    return table(
        [
            {"setting": row.label, "diverged": share(row, "diverged"), "diverged or unstable": share(row, "either")}
            for row in summary.failures(frame).itertuples()
        ]
    )


def runs(frame: pd.DataFrame) -> View:
    """Return all runs: their seeds, numbers and states."""
    return table(
        [
            {
                "setting": row.label,
                "seed": row.seed,
                "accuracy (%), ± over episodes": percent(row.accuracy, row.ci95),
                "validation, best (%)": percent(row.best),
                "last (%)": percent(row.last),
                "steps refused": row.refused,
                "minutes": f"{row.minutes:.1f}",
                "state": row.state + (f": {row.why}" if row.why else ""),
            }
            for row in summary.runs(frame).itertuples()
        ]
    )


def configurations(frame: pd.DataFrame) -> View:
    """Return the differences of the settings from the library's defaults: the common ones, then each setting's own."""
    plan = plan_of(frame)
    changes = [Config(**setting["config"]).difference(Config()) for setting in plan.settings]
    shared = {key: value for key, value in changes[0].items() if all(each.get(key) == value for each in changes)}
    own = [{key: value for key, value in each.items() if key not in shared} for each in changes]
    heads = [("all", ""), *zip(labels(plan).values(), (setting["recipe"] for setting in plan.settings))]
    rows = []
    for (label, recipe), each in zip(heads, [shared, *own]):
        words = ", ".join(f"{key} = {value!r}" for key, value in each.items())
        rows.append({"setting": label, "recipe": recipe, "departs from the defaults in": words or "nothing more"})
    return table(rows)


def provenance(frame: pd.DataFrame) -> View:
    """Return versions and commits, with the runs that used them."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, record in frame.attrs["cells"].items():
        about = {**record["versions"], "notebook's SHA-256": record["notebook_sha256"][:12]}
        groups.setdefault(tuple(about.items()), []).append(name)
    which = {key: "all" if len(groups) == 1 else ", ".join(names) for key, names in groups.items()}
    return table([{"runs": which[key], **dict(key)} for key in groups])
