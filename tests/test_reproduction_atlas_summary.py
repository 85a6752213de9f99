"""The summaries of the atlas, from runs whose numbers are made up: shares, pairs, and who tames what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from grids import make_grid

from mamlkit.study.reproduction import atlas, atlas_summary
from mamlkit.study.reproduction.atlas import Place
from mamlkit.study.reproduction.measurements import collect

MAML, FIRST, CLIP = (Place("plain", method, 1, 0.4) for method in ("maml", "first-order", "clip"))


def never_learns(setting: int, seed: int, epoch: int) -> float:
    """Return an accuracy at which MAML's runs, setting 0, are dead; of the third setting, the first seed's run."""
    return 0.2 if setting == 0 or (setting, seed) == (2, 0) else 0.5 + seed / 10


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A grid of three cells and two seeds; for reading only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas, "PLACES", (MAML, FIRST, CLIP))
        folder: Path = tmp_path_factory.mktemp("atlas")
        yield collect(make_grid(folder, "atlas", accuracy=never_learns), folder)


def test_a_cell_has_its_share_of_dead_runs_with_an_interval_and_reasons(frame: pd.DataFrame) -> None:
    cells = atlas_summary.cells(frame).set_index("method")
    assert list(cells.dead) == [2, 0, 1]
    assert list(cells.n_runs) == [2, 2, 2]
    assert cells.share["clip"] == 0.5
    assert cells.low["clip"] < 0.5 < cells.high["clip"]
    assert cells.why["maml"] == "never above 40 %"
    assert cells.why["first-order"] == ""
    assert cells.accuracy["first-order"] == pytest.approx(0.55)
    assert cells.largest["maml"] > 0
    assert (cells.network == "plain").all()
    assert set(cells.steps) == {1}
    assert set(cells.rate) == {0.4}


def test_a_method_is_compared_with_maml_in_pairs_and_tames_if_a_tenth_of_the_runs_die(frame: pd.DataFrame) -> None:
    rows = atlas_summary.by_method(frame).set_index("method")
    assert list(rows.tames) == [False, True, False]
    assert rows.difference["maml"] == 0
    assert rows.difference["first-order"] == pytest.approx((0.3 + 0.4) / 2)
    assert rows.difference["clip"] == pytest.approx((0.0 + 0.4) / 2)
    assert rows.half["first-order"] > 0
    assert list(rows.dead) == [2, 0, 1]


def test_a_run_without_an_accuracy_is_dead_and_not_in_the_means(frame: pd.DataFrame) -> None:
    table = frame[(frame.setting != FIRST.name) | (frame.seed != 0) | frame.norm.ne("running").fillna(True)].copy()
    own = (table.setting == FIRST.name) & (table.seed == 0) & (table.measure == "test accuracy")
    table.loc[own, ["measure", "value"]] = ["time limit", 600.0]
    cells = atlas_summary.cells(table).set_index("method")
    assert cells.dead["first-order"] == 1
    assert "not finished in 600 seconds" in cells.why["first-order"]
    assert cells.accuracy["first-order"] == pytest.approx(0.6)
    assert atlas_summary.by_method(table).set_index("method").difference["first-order"] == pytest.approx(0.4)


def test_the_largest_norms_have_a_row_for_each_tensor_and_a_column_for_each_step(frame: pd.DataFrame) -> None:
    extra = frame.iloc[:4].assign(
        measure="largest inner gradient norm",
        setting=MAML.name,
        tensor=["convs.0.weight", "head.weight"] * 2,
        step=[0, 0, 0, 0],
        value=[1.0, 2.0, 3.0, 0.5],
    )
    found = atlas_summary.inner_norms(extra, MAML)
    assert list(found.index) == ["convs.0.weight", "head.weight"]
    assert found[0].tolist() == [3.0, 2.0]
