"""Summaries of the stability atlas, as functions of the table of measurements.

A run is *dead* if it diverged as ``mamlkit.training.stability`` defines it: a step was refused, it lost half of
its best accuracy, it never learned, or it reached the time limit.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from mamlkit.study.reproduction.atlas import Place, by_name
from mamlkit.study.reproduction.measurements import bare
from mamlkit.study.reproduction.summary import over_seeds, runs, share
from mamlkit.training.stability import DIVERGED

REFERENCE = "maml"


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each cell of the atlas that has runs.

    Returns:
        ``network, method, steps, rate``; ``n_runs``; ``dead``, their number; ``share``, with Wilson's 95 % interval
        from ``low`` to ``high``; ``accuracy``, mean of the test over seeds, with ``over_seeds``; ``largest``, the
        largest norm of a meta-gradient in any of its runs; ``why``, the reasons of the dead runs.
    """
    norms = bare(frame)
    largest = norms[norms.measure == "largest meta-gradient norm"].groupby("setting").value.max()
    places, rows = by_name(), []
    for setting, group in runs(frame).groupby("setting", sort=False):
        row = places[str(setting)]._asdict() | dead_share(group)
        row |= {"accuracy": group.accuracy.mean(), "over_seeds": over_seeds(group.accuracy.dropna())}
        reasons = dict.fromkeys(group[group.state == DIVERGED].why)
        rows.append(row | {"largest": largest.get(setting, math.nan), "why": "; ".join(reasons)})
    return pd.DataFrame(rows)


def dead_share(group: pd.DataFrame) -> dict[str, Any]:
    """Return the number of runs, the number and share of dead runs, and Wilson's 95 % interval."""
    n, dead = len(group), int((group.state == DIVERGED).sum())
    return {"n_runs": n, "dead": dead, **share(dead, n)}


def by_method(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each network and method, over all its steps and rates.

    Returns:
        ``network, method``; ``n_runs, dead, share, low, high`` as in ``cells``; ``accuracy``, mean over runs;
        ``difference`` of the accuracy from plain MAML in pairs of runs with the same cell and seed, with ``half``, half
        of its 95 % interval; ``tames``: the share is at most a tenth of plain MAML's.
    """
    each, places = runs(frame), by_name()
    for axis in Place._fields:
        each[axis] = [getattr(places[name], axis) for name in each.setting]
    pairs, rows = each.set_index(["network", "steps", "rate", "seed"]), []
    for (network, method), group in each.groupby(["network", "method"], sort=False):
        plain = pairs[(pairs.method == REFERENCE)].loc[[network]]
        own = pairs[(pairs.method == method)].loc[[network]]
        gains = (own.accuracy - plain.accuracy).dropna()
        reference = float((plain.state == DIVERGED).mean())
        row = {"network": network, "method": method, **dead_share(group), "accuracy": group.accuracy.mean()}
        row |= {"difference": gains.mean(), "half": over_seeds(gains)}
        rows.append(row | {"tames": reference > 0 and row["share"] <= reference / 10})
    return pd.DataFrame(rows)


def inner_norms(frame: pd.DataFrame, place: Place) -> pd.DataFrame:
    """Return the largest norms of support gradients in a cell's runs: a row for each tensor, a column for each step."""
    rows = bare(frame)[(frame.setting == place.name) & (frame.measure == "largest inner gradient norm")]
    return rows.pivot_table(index="tensor", columns="step", values="value", aggfunc="max", sort=False)
