"""The sentences and tables of the report say what the summaries say, escaped and without loss."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from grids import make_grid

from mamlkit.study.reproduction import views
from mamlkit.study.reproduction.cell import RECORD
from mamlkit.study.reproduction.measurements import collect
from mamlkit.study.reproduction.shown import markdown


def grid(folder: Path, table: str = "omniglot-ablation", **more: Any) -> pd.DataFrame:
    return collect(make_grid(folder, table, **more), folder)


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The ablation on Omniglot with two seeds; for reading only."""
    return grid(tmp_path_factory.mktemp("grid"), dataset="omniglot")


def cells(view: Any) -> pd.DataFrame:
    """Read a table back from its HTML."""
    lines = re.findall(r"<tr.*?>(.*?)</tr>", view.text.replace("&nbsp;", " "), re.DOTALL)
    head, *rows = ([html.unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", line)] for line in lines)
    return pd.DataFrame(rows, columns=head)


def test_the_heading_is_the_table_s(frame: pd.DataFrame) -> None:
    assert views.title(frame).text.startswith("# Each fix alone, and all of them\n\nWhat does each fix")


def test_what_was_run_is_told_with_the_data_and_the_distance_to_the_paper(frame: pd.DataFrame) -> None:
    text = views.what_was_run(frame).text
    assert f"omniglot, SHA-256 `{frame.attrs['plan']['data_sha256']}`" in text
    assert "**Seeds** 0, 1; **runs** 14 of 14" in text
    assert (
        "12 meta-iterations of 2 tasks in each run: 0.002 % of the paper's training tasks" in text
    )  # 24 of 1.2 million
    assert "Missing" not in text
    assert "no target" not in text


def test_parameters_of_the_user_and_a_data_set_that_the_paper_lacks_are_told(tmp_path: Path) -> None:
    text = views.what_was_run(grid(tmp_path, "stability", seeds=(0,), epochs=2)).text
    assert "scale `smoke`, epochs = 2" in text
    assert "glyphs is not one of its data sets, so its numbers are no target here" in text


def test_different_budgets_are_a_range(tmp_path: Path) -> None:
    text = views.what_was_run(grid(tmp_path, "mini-imagenet", seeds=(0,), dataset="mini-imagenet")).text
    assert "0.008 to 0.016 % of the paper's" in text  # 24 tasks of 300,000 with one example, of 150,000 with five


def test_missing_runs_are_named(tmp_path: Path) -> None:
    plan = make_grid(tmp_path, "stability")
    (tmp_path / "cells" / "maml-strided-seed1" / RECORD).unlink()
    text = views.what_was_run(collect(plan, tmp_path)).text
    assert "**runs** 3 of 4" in text
    assert "**Missing runs** `maml-strided-seed1`: no number below contains them" in text


def test_results_have_every_kind_of_uncertainty_in_percent(frame: pd.DataFrame) -> None:
    table = cells(views.results(frame))
    assert table.iloc[0].to_dict() == {
        "setting": "MAML",
        "seeds": "2",
        "accuracy (%), ± over seeds": "63.50 ± 6.35",  # 63 and 64: 12.706 times 0.7071 over the root of two
        "sd over seeds": "0.71",
        "± over episodes, one run": "1.00",
        "± over all episodes": "0.71",
        "episodes": "100",
        "other statistics (%), ± over seeds": "58.50 ± 6.35 (recorded)",
        "minutes": "1.6",
        "steps refused": "0",
    }


def test_one_seed_has_dashes_where_there_is_no_number(frame: pd.DataFrame) -> None:
    one = frame[frame.seed == 0]
    first = cells(views.results(one)).iloc[0]
    assert first["accuracy (%), ± over seeds"] == "63.00 ± –"
    assert first["sd over seeds"] == "–"
    assert set(cells(views.effects(one)).verdict) == {"one seed: not told"}


def test_the_paper_s_numbers_stand_with_how_well_they_are_established(frame: pd.DataFrame) -> None:
    table = cells(views.paper_numbers(frame))
    assert table["accuracy (%)"].tolist() == ["95.80 ± 0.30", "97.76", "97.65"]
    assert table["how well established"].tolist() == ["quoted by others", "text of the paper", "quoted by others"]
    assert table["what ± is"].tolist() == ["interval over tasks", "–", "–"]
    assert set(table["data set"]) == {"omniglot"}


def test_numbers_of_another_data_set_are_marked_as_no_target(tmp_path: Path) -> None:
    frame = grid(tmp_path, "stability", seeds=(0,))
    assert set(cells(views.paper_numbers(frame))["data set"]) == {"omniglot, no target for glyphs"}


def test_numbers_of_the_same_task_on_another_data_set_are_left_out(tmp_path: Path) -> None:
    table = cells(views.paper_numbers(grid(tmp_path, "omniglot", seeds=(0,), dataset="omniglot")))
    assert set(table["data set"]) == {"omniglot"}  # though mini-ImageNet has 5-way numbers too
    assert len(table) == 10


def test_a_task_that_the_paper_lacks_is_told_in_a_sentence(tmp_path: Path) -> None:
    found = views.paper_numbers(grid(tmp_path, "stability", seeds=(0,), n_way=7))
    assert found == markdown("The paper has no established number of this task, on any data set.")


def test_effects_have_a_sign_and_a_verdict(frame: pd.DataFrame) -> None:
    table = cells(views.effects(frame))
    assert table.iloc[0].to_dict() == {
        "setting": "MAML + multi-step loss",
        "minus": "MAML",
        "pairs of runs": "2",
        "difference (points), ± over seeds": "+2.00 ± 0.00",
        "verdict": "helps",
    }
    assert views.effects(frame[frame.setting == "maml"]).text.startswith("There is nothing to compare")


def test_failures_are_shares_with_intervals_and_every_run_tells_how_it_went(tmp_path: Path) -> None:
    def accuracy(setting: int, seed: int, epoch: int) -> float:
        return 0.2 if (setting, seed, epoch) == (0, 1, 3) else 0.9

    frame = grid(tmp_path, "stability", accuracy=accuracy)
    table = cells(views.failures(frame))
    assert table.diverged.tolist() == ["1 of 2: 50 % (9 to 91)", "0 of 2: 0 % (0 to 66)"]
    states = cells(views.runs(frame))
    assert states.state.tolist() == ["steady", "diverged: ended at 20 % after 90 %", "steady", "steady"]
    assert states.iloc[1][["seed", "accuracy (%), ± over episodes"]].tolist() == ["1", "20.00 ± 1.00"]


def test_configurations_tell_once_what_all_share(frame: pd.DataFrame) -> None:
    table = cells(views.configurations(frame)).set_index("setting")["departs from the defaults in"]
    assert "n_way = 20" in table["all"]
    assert not table.drop("all").str.contains("n_way").any()
    assert table["MAML"] == "nothing more"
    assert table["MAML + learned inner rates"] == "learn_inner_lrs = True"


def test_runs_with_other_versions_are_told_apart(frame: pd.DataFrame) -> None:
    one = cells(views.provenance(frame))
    assert one.runs.tolist() == ["all"]
    assert {"torch", "commit", "machine"} <= set(one)
    other = frame.copy()
    record = other.attrs["cells"]["maml-seed1"]
    record["versions"] = {**record["versions"], "torch": "9.9"}
    table = cells(views.provenance(other)).set_index("torch").runs
    assert table["9.9"] == "maml-seed1"
    assert "maml-seed0" in table.drop("9.9").iloc[0]
