"""The table of measurements: every value where it belongs, and where it is from in the file itself."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from grids import make_cell, make_grid

from mamlkit.core.errors import InputError
from mamlkit.runs.folder import RunFolder
from mamlkit.study.reproduction import measurements, summary
from mamlkit.study.reproduction.cell import RECORD, folder_of
from mamlkit.study.reproduction.measurements import COLUMNS, collect, plan_of, read, write
from mamlkit.study.reproduction.plan import read_plan

PEAK = {1: 0.5, 2: 0.9, 3: 0.7}  # validation accuracy: epoch 2 is the best
TASK = {"dataset": "glyphs", "n_way": 20, "k_shot": 1, "n_steps": 5}
# Strided, 8 filters: the sides are 14, 7, 4 and 2; a multiply-add is two.
FORWARD = 2 * 9 * (14**2 * 8 + (7**2 + 4**2 + 2**2) * 8 * 8) + 2 * 20 * 8
SECOND_ORDER = 2 * 20 * (5 * 9 + 1 * 3) * FORWARD  # 5 support passes of 9 and a query pass of 3, for 40 classes
FIRST_ORDER_MSL = 2 * 20 * (5 * 3 + 5 * 3) * FORWARD


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MAML and MAML++, strided, with two seeds; for reading only."""
    folder = tmp_path_factory.mktemp("grid")
    make_grid(folder, "stability", accuracy=lambda setting, seed, epoch: PEAK[epoch])
    return folder


@pytest.fixture(scope="module")
def frame(grid: Path) -> pd.DataFrame:
    plan = read_plan(grid)
    assert plan is not None
    return collect(plan, grid)


@pytest.fixture
def damaged(grid: Path, tmp_path: Path) -> Path:
    """A copy of that grid, to be damaged."""
    shutil.copytree(grid, tmp_path / "grid")
    return tmp_path / "grid"


def of(frame: pd.DataFrame, measure: str, setting: str = "maml-strided", seed: int = 0) -> pd.DataFrame:
    return frame[(frame.measure == measure) & (frame.setting == setting) & (frame.seed == seed)]


def collect_from(folder: Path) -> pd.DataFrame:
    plan = read_plan(folder)
    assert plan is not None
    return collect(plan, folder)


def test_the_columns_are_those_that_the_module_documents(frame: pd.DataFrame) -> None:
    assert list(frame) == list(COLUMNS)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == COLUMNS
    text = str(measurements.__doc__)
    heads = re.findall(r"^(\w+(?:, \w+)*)  ", text, re.MULTILINE)
    assert [name for head in heads for name in head.split(", ")] == list(COLUMNS)
    assert set(re.findall(r"^    ([\w -]+?)  ", text, re.MULTILINE)) == {*frame.measure, "time limit"}


def test_every_run_is_there_with_its_task_setting_after_setting(frame: pd.DataFrame) -> None:
    runs = frame[["setting", "seed"]].drop_duplicates().to_numpy().tolist()
    assert runs == [["maml-strided", 0], ["maml-strided", 1], ["mamlpp-strided", 0], ["mamlpp-strided", 1]]
    assert all((frame[key] == value).all() for key, value in TASK.items())
    assert frame.groupby("setting").recipe.unique().str[0].to_dict() == {
        "maml-strided": "maml",
        "mamlpp-strided": "mamlpp",
    }


def test_the_test_has_both_kinds_of_statistics_with_the_interval_over_episodes(frame: pd.DataFrame) -> None:
    rows = of(frame, "test accuracy")[["norm", "value", "ci95", "episodes"]].to_numpy().tolist()
    assert rows == [["batch", 0.7, 0.01, 100], ["running", pytest.approx(0.65), 0.01, 100]]


def test_validation_stands_against_iterations_seconds_and_arithmetic(frame: pd.DataFrame) -> None:
    rows = of(frame, "validation accuracy")
    assert rows.epoch.tolist() == [1, 2, 3]
    assert rows.iteration.tolist() == [4, 8, 12]
    assert rows.value.tolist() == [0.5, 0.9, 0.7]
    assert rows.ci95.tolist() == [0.02] * 3
    assert rows.seconds.tolist() == [30, 60, 90]
    assert rows.flop.tolist() == [4 * SECOND_ORDER, 8 * SECOND_ORDER, 12 * SECOND_ORDER]


def test_arithmetic_follows_the_schedules_of_the_epoch(frame: pd.DataFrame) -> None:
    flop = of(frame, "validation accuracy", "mamlpp-strided").flop.tolist()
    first = (
        4 * FIRST_ORDER_MSL
    )  # a third of three epochs is first-order, and a tenth, at least one, has every step's loss
    assert flop == [first, first + 4 * SECOND_ORDER, first + 8 * SECOND_ORDER]


def test_norms_are_medians_over_the_epoch_beside_the_largest(frame: pd.DataFrame) -> None:
    assert of(frame, "meta-gradient norm").value.tolist() == pytest.approx([2.5, 2.5 / 2, 2.5 / 3])
    assert of(frame, "largest meta-gradient norm").value.tolist() == pytest.approx([4, 2, 4 / 3])
    inner = of(frame, "inner gradient norm")
    assert inner[inner.epoch == 2].step.tolist() == [0, 1, 2, 3, 4]
    assert inner[inner.epoch == 2].value.tolist() == pytest.approx([2.1, 2.0, 1.9, 1.8, 1.7])
    assert of(frame, "training loss").value.tolist() == pytest.approx([1, 1 / 2, 1 / 3])


def test_inner_rates_are_those_of_the_best_epoch_where_they_are_learned(frame: pd.DataFrame) -> None:
    assert of(frame, "inner rate").empty
    rates = of(frame, "inner rate", "mamlpp-strided", seed=1)
    assert len(rates) == 10 * 5  # tensors and steps
    assert rates.tensor.tolist()[4:6] == ["convs.0.weight", "convs.0.bias"]
    assert set(rates.epoch) == {2}
    assert rates.value.tolist() == pytest.approx([0.02] * 50)


def test_minutes_are_the_result_s_and_steps_refused_are_counted(frame: pd.DataFrame) -> None:
    assert of(frame, "minutes").value.tolist() == [1.6]  # three epochs of 30 s, and 6 s of test
    assert of(frame, "refused steps").value.tolist() == [0]


def test_what_was_not_finite_is_left_out_and_counted(damaged: Path) -> None:
    plan = read_plan(damaged)
    assert plan is not None
    cell = plan.cells[0]
    place = folder_of(damaged, cell.name)
    first, second, third = RunFolder.open(place / "run").history()
    lost = [dataclasses.replace(i, grad_norm=math.inf, loss=math.nan, finite=False) for i in first.iterations]
    nothing = dataclasses.replace(first, iterations=tuple(lost))
    partly = dataclasses.replace(second, iterations=(lost[0], *second.iterations[1:]))
    shutil.rmtree(place)
    make_cell(damaged, cell, [nothing, partly, third])
    frame = collect_from(damaged)
    assert of(frame, "refused steps").value.tolist() == [5]
    norms = of(frame, "meta-gradient norm").value.tolist()
    assert norms == pytest.approx([math.nan, 3 / 2, 2.5 / 3], nan_ok=True)  # of 2, 3 and 4, halved
    assert math.isnan(of(frame, "largest meta-gradient norm").value.iloc[0])
    assert math.isnan(of(frame, "training loss").value.iloc[0])


def test_a_label_names_the_task_where_the_table_has_several(frame: pd.DataFrame, tmp_path: Path) -> None:
    assert set(frame.label) == {"MAML, strided", "MAML++, strided"}
    plan = make_grid(tmp_path, "omniglot", seeds=(0,))
    labels = collect(plan, tmp_path).label.drop_duplicates().tolist()
    assert labels[:3] == ["5-way 1-shot: MAML", "5-way 1-shot: MAML++", "5-way 5-shot: MAML"]
    assert len(labels) == 8


def test_a_run_without_its_record_does_not_count(damaged: Path) -> None:
    (damaged / "cells" / "maml-strided-seed1" / RECORD).unlink()
    frame = collect_from(damaged)
    assert set(frame[frame.setting == "maml-strided"].seed) == {0}
    assert list(frame.attrs["cells"]) == ["maml-strided-seed0", "mamlpp-strided-seed0", "mamlpp-strided-seed1"]


@pytest.mark.parametrize("name", ["run/result.json", "cell.json"])
def test_a_damaged_file_of_a_run_is_named(damaged: Path, name: str) -> None:
    path = damaged / "cells" / "mamlpp-strided-seed0" / name
    path.write_text("{")
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))} is damaged \(.+; delete .*, and run it again$"):
        collect_from(damaged)


def test_a_result_that_lacks_a_value_is_named(damaged: Path) -> None:
    path = damaged / "cells" / "mamlpp-strided-seed0" / "run" / "result.json"
    path.write_text(json.dumps({"minutes": 1}))
    with pytest.raises(InputError, match=r"result\.json is damaged \('evaluations'\)"):
        collect_from(damaged)


def test_the_file_gives_the_same_table_back_and_tells_where_it_is_from(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    write(frame, path)
    again = read(path)
    pd.testing.assert_frame_equal(again, frame)
    assert again.attrs == frame.attrs
    assert [file.name for file in tmp_path.glob("*.parquet*")] == ["results.parquet"]
    metadata = b" ".join(pyarrow.parquet.read_schema(path).metadata.values()).decode()
    for part in (plan_of(frame).data_sha256, '"commit"', '"torch"', '"inner_lr"', "maml-strided-seed1"):
        assert part in metadata


def test_the_plan_comes_back_from_the_table(frame: pd.DataFrame, grid: Path) -> None:
    assert plan_of(frame) == read_plan(grid)


def test_a_grid_of_21_runs_of_20_epochs_stays_under_300_kb(tmp_path: Path) -> None:
    plan = make_grid(tmp_path / "grid", seeds=(0,), epochs=20)
    one = collect(plan, tmp_path / "grid")
    frame = pd.concat([one.assign(seed=seed) for seed in range(3)], ignore_index=True)
    rng = np.random.default_rng(0)  # what was made up repeats itself, and would shrink too well
    for column in ("value", "ci95", "seconds", "flop"):
        frame[column] = frame[column].where(frame[column].isna(), rng.random(len(frame)))
    records = {f"{name}-{copy}": record for name, record in one.attrs["cells"].items() for copy in range(3)}
    frame.attrs = {**one.attrs, "cells": records}
    write(frame, tmp_path / "results.parquet")
    assert len(frame) > 4000
    assert 50_000 < (tmp_path / "results.parquet").stat().st_size < 300_000


def test_what_is_no_such_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.parquet cannot be read \(.+\); mamlkit reproduce writes it again$"):
        read(tmp_path / "absent.parquet")
    (tmp_path / "noise.parquet").write_bytes(b"noise")
    with pytest.raises(InputError, match=r"noise\.parquet cannot be read"):
        read(tmp_path / "noise.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"other\.parquet is no table of measurements; give the results\.parquet"):
        read(tmp_path / "other.parquet")


def test_a_run_has_the_largest_inner_norm_of_each_tensor_and_step_and_a_stopped_one_its_limit(tmp_path: Path) -> None:
    plan = make_grid(tmp_path, "stability", seeds=(0,))
    stopped = tmp_path / "cells" / "mamlpp-strided-seed0" / "run" / "result.json"
    stopped.write_text(
        json.dumps({"stopped": "not finished in 60 seconds", "minutes": 1.0, "evaluations": {}}), "utf-8"
    )
    frame = collect(plan, tmp_path)
    norms = frame[(frame.setting == "maml-strided") & (frame.measure == "largest inner gradient norm")]
    found = norms.pivot_table(index="tensor", columns="step", values="value", sort=False)
    assert list(found.index) == ["convs.0.weight", "convs.0.bias"]
    inner = plan.cells[0].config["inner_lr"] + 2.0
    assert found.loc["convs.0.weight"].tolist() == pytest.approx([inner - step / 10 for step in range(5)])
    limit = frame[frame.measure == "time limit"]
    assert (limit.setting.tolist(), limit.value.tolist()) == (["mamlpp-strided"], [60.0])
    [run] = summary.runs(frame)[lambda runs: runs.setting == "mamlpp-strided"].itertuples()
    assert (run.state, math.isnan(run.accuracy)) == ("diverged", True)
    assert "not finished in 60 seconds" in run.why
