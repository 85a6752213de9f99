"""Means, intervals, effects, and the number of diverged runs, as functions of the table of measurements.

Accuracies and their differences are fractions. An interval is given as half its width. There are three kinds:

over episodes          ``ci95``: of one run; says nothing about other seeds
over seeds             ``over_seeds``: Student's t for the mean of the runs; NaN for one seed
over all episodes      ``pooled``: for the mean of exactly these runs: sqrt(sum of squares) / n

A run diverged or was unstable by the definition of ``mamlkit.training.stability``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from mamlkit.study.reproduction.measurements import bare, plan_of
from mamlkit.training.stability import DIVERGED, UNSTABLE, outcome

HELPS, HURTS, SAME, ONE_SEED = "helps", "hurts", "not told apart", "one seed: not told"
TASK = ["n_way", "k_shot"]


def over_seeds(values: Sequence[float]) -> float:
    """Return half the 95 % interval of the mean of a few runs, by Student's t; NaN for one run.

    >>> round(over_seeds([0.90, 0.92, 0.94]), 4)
    0.0497
    """
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each run.

    Returns:
        ``setting, label, seed, n_way, k_shot``; ``accuracy, ci95, episodes`` of the test, with the statistics that the
        run's ``norm_eval`` names, and ``other_accuracy, other_ci95`` with the other statistics, NaN if the run reached
        its time ``limit`` (seconds, else NaN); ``minutes, refused``; ``best, last`` validation accuracy, and the
        largest ``fall`` below an earlier best; ``state`` and ``why``.
    """
    headline = {setting["name"]: setting["config"]["norm_eval"] for setting in plan_of(frame).settings}
    found = []
    for (setting, _), run in bare(frame).groupby(["setting", "seed"], sort=False):
        about = run.iloc[0][["setting", "label", "seed", *TASK]].to_dict()
        tests = run[run.measure == "test accuracy"].set_index("norm")
        about |= dict.fromkeys(("accuracy", "ci95", "other_accuracy", "other_ci95"), math.nan) | {"episodes": 0}
        for norm, test in tests.iterrows():
            which = "" if norm == headline[setting] else "other_"
            about |= {f"{which}accuracy": test.value, f"{which}ci95": float(test.ci95), "episodes": int(test.episodes)}
        values = {measure: rows.value.to_numpy() for measure, rows in run.groupby("measure")}
        about |= {"minutes": values["minutes"][0], "refused": int(values["refused steps"][0])}
        about["limit"] = float(values["time limit"][0]) if "time limit" in values else math.nan
        accuracies = values.get("validation accuracy", np.zeros(1))
        state = outcome(accuracies, about["n_way"], refused=about["refused"], limit=about["limit"])
        found.append(about | state._asdict())
    return pd.DataFrame(found)


def settings(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each setting that has runs.

    Returns:
        ``setting, label, n_way, k_shot, n_seeds``; ``accuracy``, mean over seeds; its ``over_seeds``; ``sd`` over
        seeds, NaN for one seed; ``ci95``, mean over the runs; ``pooled``; ``episodes`` of one run; the same with
        ``other_`` for the statistics that ``norm_eval`` does not name; ``minutes``, mean; ``refused``, ``diverged`` and
        ``unstable``, sums.
    """
    rows = []
    for _, group in runs(frame).groupby("setting", sort=False):
        row = group.iloc[0][["setting", "label", *TASK]].to_dict() | {"n_seeds": len(group)}
        for which in ("", "other_"):
            values, half = (group[f"{which}{name}"].dropna() for name in ("accuracy", "ci95"))
            row[f"{which}accuracy"], row[f"{which}sd"] = values.mean(), values.std(ddof=1)
            row[f"{which}over_seeds"], row[f"{which}ci95"] = over_seeds(values), half.mean()
            row[f"{which}pooled"] = math.sqrt((half**2).sum()) / len(half) if len(half) else math.nan
        row |= {"episodes": group.episodes.max(), "minutes": group.minutes.mean(), "refused": group.refused.sum()}
        rows.append(row | {state: (group.state == state).sum() for state in (DIVERGED, UNSTABLE)})
    return pd.DataFrame(rows)


def effects(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the difference of each setting from the plan's first setting of the same task, paired by seed.

    Returns:
        ``setting, label, reference`` (a label), ``n_seeds`` common to both, ``difference``, its mean; ``over_seeds``;
        and ``verdict``. A setting without a common seed has no row.
    """
    rows, tests = [], runs(frame)
    accuracy = {name: group.set_index("seed").accuracy for name, group in tests.groupby("setting")}
    label = dict(zip(tests.setting, tests.label))
    for setting, first in references(frame).items():
        if setting == first or not {setting, first} <= accuracy.keys():
            continue
        gains = (accuracy[setting] - accuracy[first]).dropna()
        if len(gains):
            row = {"setting": setting, "label": label[setting], "reference": label[first], "n_seeds": len(gains)}
            mean, half = float(gains.mean()), over_seeds(gains)
            rows.append(row | {"difference": mean, "over_seeds": half, "verdict": verdict(mean, half)})
    columns = ["setting", "label", "reference", "n_seeds", "difference", "over_seeds", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def references(frame: pd.DataFrame) -> dict[str, str]:
    """Return the reference of every setting of the plan: the first setting of its task."""
    tasks = {s["name"]: tuple(s["config"][key] for key in TASK) for s in plan_of(frame).settings}
    first = {task: name for name, task in reversed(tasks.items())}
    return {name: first[task] for name, task in tasks.items()}


def verdict(difference: float, half: float) -> str:
    """Return in words whether a difference is distinguishable from zero; NaN for ``half`` means no interval.

    >>> verdict(0.03, 0.01), verdict(0.03, 0.04), verdict(0.03, float("nan"))
    ('helps', 'not told apart', 'one seed: not told')
    """
    if math.isnan(half):
        return ONE_SEED
    return SAME if abs(difference) <= half else HELPS if difference > 0 else HURTS


def share(count: int, n: int) -> dict[str, float]:
    """Return the ``share`` of ``count`` among ``n`` runs, and Wilson's 95 % interval from ``low`` to ``high``.

    >>> {name: round(value, 2) for name, value in share(1, 4).items()}
    {'share': 0.25, 'low': 0.05, 'high': 0.7}
    """
    low, high = stats.binomtest(count, n).proportion_ci(method="wilson")
    return {"share": count / n, "low": float(low), "high": float(high)}


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the number of failed runs, one row for each setting.

    Returns:
        ``setting, label, n_runs``; ``diverged`` with ``diverged_share`` and Wilson's 95 % interval from
        ``diverged_low`` to ``diverged_high``; and the same for ``either``, the runs that diverged or were unstable.
    """
    rows = []
    for _, group in runs(frame).groupby("setting", sort=False):
        row = group.iloc[0][["setting", "label"]].to_dict() | {"n_runs": len(group)}
        for name, states in ((DIVERGED, [DIVERGED]), ("either", [DIVERGED, UNSTABLE])):
            count = int(group.state.isin(states).sum())
            row |= {name: count, **{f"{name}_{key}": value for key, value in share(count, len(group)).items()}}
        rows.append(row)
    return pd.DataFrame(rows)
