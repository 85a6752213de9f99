"""Figures and tables of the atlas say what its summaries say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from grids import make_grid

from mamlkit.study.reproduction import atlas, atlas_summary, atlas_views, report
from mamlkit.study.reproduction.atlas import METHODS, NETWORKS, Place
from mamlkit.study.reproduction.measurements import collect
from mamlkit.study.reproduction.plan import read_plan

PLACES = (Place("plain", "maml", 1, 0.4), Place("plain", "clip", 1, 0.4), Place("conv4", "maml", 5, 0.1))


def falling(setting: int, seed: int, epoch: int) -> float:
    return 0.2 if setting == 0 else 0.6 + seed / 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A grid of three cells and two seeds; for reading only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas, "PLACES", PLACES)
        place = tmp_path_factory.mktemp("atlas")
        make_grid(place, "atlas", accuracy=falling)
        yield place


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    plan = read_plan(folder)
    assert plan is not None
    return collect(plan, folder)


def test_the_map_has_a_panel_for_each_network_and_method_and_the_numbers_of_its_cells(frame: pd.DataFrame) -> None:
    figure = atlas_views.atlas_map(frame)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == len(NETWORKS) * len(METHODS)
    words = {(row, column): text.get_text() for row, column, text in _texts(panels)}
    plain, conv4 = (list(NETWORKS).index(name) for name in ("plain", "conv4"))
    assert words[plain, list(METHODS).index("maml")] == "2/2\n20 %"
    assert words[plain, list(METHODS).index("clip")] == "0/2\n65 %"
    assert words[conv4, list(METHODS).index("maml")] == "0/2\n65 %"
    assert len(words) == 3


def _texts(panels: list[Any]) -> list[tuple[int, int, Any]]:
    return [(i // len(METHODS), i % len(METHODS), text) for i, axes in enumerate(panels) for text in axes.texts]


def test_the_tables_name_network_method_share_and_reason(frame: pd.DataFrame) -> None:
    text = atlas_views.methods(frame).text.replace("&nbsp;", " ")
    assert "2 of 2: 100 % (34 to 100)" in text
    assert "+ gradient clipping" in text
    assert "+45.00 ±" in text
    died = atlas_views.reasons(frame).text
    assert "never above 40 %" in died
    assert "Conv4, pooled" not in died


def test_the_norms_of_a_cell_are_drawn_by_tensor_and_step(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({0: [1.0, 1e30], 1: [10.0, 1e38]}, index=["convs.0.weight", "head.weight"])
    monkeypatch.setattr(atlas_summary, "inner_norms", lambda frame, place: table)
    axes = atlas_views.norms(frame, PLACES[0]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(table.index)
    assert axes.images[0].get_array().max() == pytest.approx(38.0)


def test_the_terminal_shows_a_line_for_each_network_and_method(
    frame: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    report.show(frame)
    text = capsys.readouterr().out
    assert "2 of 2" in text
    assert "clipping" in text


@pytest.mark.long
def test_the_report_is_that_of_the_atlas(folder: Path) -> None:
    plan = read_plan(folder)
    assert plan is not None
    text = report.write(plan, folder, "mamlkit reproduce atlas").read_text("utf-8")
    assert "Where training breaks" in text
    assert "What each method changes" in text
    assert "Beside the paper" not in text
