"""The committed stability atlas: every run is there, the package shows the same runs, and three are trained again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mamlkit.study.reproduction import measurements, summary
from mamlkit.study.reproduction.atlas import PLACES, by_name
from mamlkit.study.reproduction.cell import run_cell
from mamlkit.study.stored import atlas
from mamlkit.training.stability import DIVERGED

FILE = Path(__file__).parents[1] / "data" / "results" / "reproduction" / "atlas-glyphs.parquet"
AGAIN = {  # a run that dies, one that batch norm keeps alive, and one with all fixes
    "plain-maml-5steps-rate0.4-seed0": True,
    "norm-maml-5steps-rate0.4-seed1": False,
    "conv4-mamlpp-5steps-rate0.1-seed2": False,
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return measurements.read(FILE)


def test_every_cell_has_three_runs_and_each_has_an_outcome(frame: pd.DataFrame) -> None:
    runs = summary.runs(frame)
    assert len(runs) == 3 * len(PLACES) >= 700
    assert set(runs.setting) == {place.name for place in PLACES}
    assert set(runs.seed) == {0, 1, 2}
    assert runs.state.notna().all()


def test_the_package_shows_the_runs_of_the_table(frame: pd.DataFrame) -> None:
    shown, runs = atlas.read(), summary.runs(frame).set_index(["setting", "seed"])
    order = [(place.name, seed) for place in PLACES for seed in shown.seeds]
    assert (shown.dead.ravel() == (runs.state == DIVERGED).loc[order]).all()
    np.testing.assert_allclose(shown.accuracy.ravel(), runs.accuracy.loc[order], rtol=1e-6)
    dead = [bool(why) for why in shown.why]
    assert (np.array(dead) == shown.dead.any(-1).ravel()).all()


def test_what_the_readme_says_of_it_is_so() -> None:
    shown = atlas.read()
    assert all(shown.runs("norm", method, least_steps=5, least_rate=0.1) == (0, 12) for method in shown.methods)
    assert all(shown.runs("plain", method, least_steps=5, least_rate=0.4) == (6, 6) for method in shown.methods)
    assert shown.runs("plain", "maml", least_steps=5, least_rate=0.1) == (9, 12)  # 3 of 6 at 0.1
    others = [method for method in shown.methods if method != "maml"]
    at_a_tenth = [shown.runs("plain", method, least_steps=5, least_rate=0.1)[0] - 6 for method in others]
    assert (min(at_a_tenth), max(at_a_tenth)) == (0, 1)
    skips = {method: shown.runs("skips", method, least_steps=5, least_rate=0.1)[0] for method in shown.methods}
    assert (skips.pop("first-order"), min(skips.values()), max(skips.values())) == (11, 4, 6)


@pytest.mark.long
@pytest.mark.parametrize(("name", "dies"), AGAIN.items())
def test_a_cell_that_is_trained_again_has_the_committed_numbers(
    frame: pd.DataFrame, name: str, dies: bool, tmp_path: Path
) -> None:
    plan = measurements.plan_of(frame)
    [cell] = [cell for cell in plan.cells if cell.name == name]
    assert cell.setting in by_name()
    assert not run_cell(tmp_path, cell, "").error
    again = measurements.collect(plan, tmp_path)
    mine = (frame.setting == cell.setting) & (frame.seed == cell.seed)
    [now], [then] = (summary.runs(each).to_dict("records") for each in (again, frame[mine]))
    assert now["state"] == then["state"]
    assert (now["state"] == DIVERGED) == dies
    assert now["accuracy"] == pytest.approx(then["accuracy"], abs=0.02)  # another processor rounds in another order
