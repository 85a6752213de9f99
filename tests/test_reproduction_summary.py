"""Means, intervals, effects and failures, beside numbers computed by hand."""

from __future__ import annotations

import doctest
import math
from pathlib import Path

import pandas as pd
import pytest
from grids import Accuracy, make_grid

from mamlkit.study.reproduction import summary
from mamlkit.study.reproduction.measurements import collect

T3, T2 = 4.302653, 12.706205  # 97.5 % quantiles of Student's t for three runs and for two
TESTS = {  # accuracy of the last epoch, for seeds 0, 1, 2
    "maml": (0.80, 0.82, 0.84),
    "maml+msl": (0.85, 0.86, 0.90),  # differences 0.05, 0.04, 0.06
    "maml+da": (0.80, 0.85, 0.78),  # 0.00, 0.03, -0.06
    "maml+bn": (0.70, 0.71, 0.73),  # -0.10, -0.11, -0.11
}
ORDER = ["maml", "maml+msl", "maml+da", "maml+bn", "maml+lslr", "maml+ca", "mamlpp"]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The ablation with three seeds; for reading only."""
    return grid(tmp_path_factory.mktemp("grid"), lambda setting, seed, _: TESTS.get(ORDER[setting], (0.9,) * 3)[seed])


def grid(
    folder: Path, accuracy: Accuracy, table: str = "omniglot-ablation", seeds: int = 3, **more: int
) -> pd.DataFrame:
    return collect(make_grid(folder, table, seeds=tuple(range(seeds)), accuracy=accuracy, **more), folder)


def course(folder: Path, *validation: float, refused: int = 0, **more: int) -> pd.Series:
    """Return the row of a run of MAML with these validation accuracies."""
    made = grid(folder, lambda _, __, epoch: validation[epoch - 1], "stability", 1, epochs=len(validation), **more)
    made.loc[made.measure == "refused steps", "value"] = float(refused)
    return summary.runs(made).iloc[0]


def line(table: pd.DataFrame, setting: str) -> pd.Series:
    [index] = table.index[table.setting == setting]
    return table.loc[index]


def test_a_setting_has_its_mean_and_three_kinds_of_uncertainty(frame: pd.DataFrame) -> None:
    table = summary.settings(frame)
    assert table.setting.tolist() == ORDER
    maml = line(table, "maml")
    assert maml.n_seeds == 3
    assert maml.accuracy == pytest.approx(0.82)
    assert maml.sd == pytest.approx(0.02)
    assert maml.over_seeds == pytest.approx(T3 * 0.02 / math.sqrt(3), rel=1e-6)
    assert maml.ci95 == pytest.approx(0.01)
    assert maml.pooled == pytest.approx(0.01 / math.sqrt(3))
    assert (maml.episodes, maml.minutes, maml.refused) == (100, pytest.approx(1.6), 0)
    assert maml.other_accuracy == pytest.approx(0.77)  # recorded statistics: 5 points below
    assert maml.other_over_seeds == pytest.approx(maml.over_seeds)


def test_the_pooled_interval_is_not_the_mean_of_unequal_ones(frame: pd.DataFrame) -> None:
    unequal = frame.copy()
    chosen = (frame.measure == "test accuracy") & (frame.setting == "maml") & (frame.norm == "batch")
    unequal.loc[chosen, "ci95"] = [0.03, 0.04, 0.12]
    maml = line(summary.settings(unequal), "maml")
    assert maml.pooled == pytest.approx(0.13 / 3)
    assert maml.ci95 == pytest.approx(0.19 / 3)


def test_the_headline_is_the_statistics_that_norm_eval_names(tmp_path: Path) -> None:
    table = summary.settings(grid(tmp_path, lambda *_: 0.8, "paper-vs-code", 1))
    own, recorded = (line(table, name) for name in ("mamlpp", "recorded-statistics"))
    assert (own.accuracy, own.other_accuracy) == pytest.approx((0.80, 0.75))
    assert (recorded.accuracy, recorded.other_accuracy) == pytest.approx((0.75, 0.80))


def test_an_effect_is_paired_by_seed_and_stands_with_its_interval(frame: pd.DataFrame) -> None:
    table = summary.effects(frame)
    assert table.setting.tolist() == ORDER[1:]
    assert set(table.reference) == {"MAML"}
    msl = line(table, "maml+msl")
    assert (msl.n_seeds, msl.difference) == (3, pytest.approx(0.05))
    assert msl.over_seeds == pytest.approx(T3 * 0.01 / math.sqrt(3), rel=1e-6)  # unpaired it were thrice as wide


@pytest.mark.parametrize(
    ("setting", "verdict"), [("maml+msl", "helps"), ("maml+da", "not told apart"), ("maml+bn", "hurts")]
)
def test_the_verdict_tells_where_the_interval_lies(frame: pd.DataFrame, setting: str, verdict: str) -> None:
    assert line(summary.effects(frame), setting).verdict == verdict


def test_equal_runs_are_not_told_apart() -> None:
    assert summary.verdict(0.0, 0.0) == "not told apart"


def test_one_seed_has_no_interval_over_seeds_and_no_verdict(frame: pd.DataFrame) -> None:
    one = frame[frame.seed == 0]
    maml = line(summary.settings(one), "maml")
    assert math.isnan(maml.sd)
    assert math.isnan(maml.over_seeds)
    assert maml.pooled == pytest.approx(0.01)
    effects = summary.effects(one)
    assert effects.over_seeds.isna().all()
    assert set(effects.verdict) == {"one seed: not told"}


def test_only_seeds_that_both_have_are_paired(frame: pd.DataFrame) -> None:
    part = frame[~((frame.setting == "maml") & (frame.seed == 0))]
    msl = line(summary.effects(part), "maml+msl")
    assert (msl.n_seeds, msl.difference) == (2, pytest.approx(0.05))
    assert msl.over_seeds == pytest.approx(T2 * 0.01, rel=1e-6)  # 0.04 and 0.06: sd 0.01414, over the root of two
    disjoint = frame[(frame.seed == 0) == (frame.setting == "maml")]
    assert summary.effects(disjoint).empty


def test_without_its_reference_a_task_has_no_effects(frame: pd.DataFrame) -> None:
    effects = summary.effects(frame[frame.setting != "maml"])
    assert effects.empty
    assert "verdict" in effects


def test_each_task_has_a_reference_of_its_own(tmp_path: Path) -> None:
    made = grid(tmp_path, lambda setting, *_: 0.5 + 0.01 * setting**2, "omniglot", 1)
    table = summary.effects(made)
    assert table.setting.tolist() == [
        f"mamlpp-{task}" for task in ("5way-1shot", "5way-5shot", "20way-1shot", "20way-5shot")
    ]
    assert table.reference.tolist()[1:3] == ["5-way 5-shot: MAML", "20-way 1-shot: MAML"]
    assert table.difference.tolist() == pytest.approx([0.01, 0.05, 0.09, 0.13])  # 2 n - 1 hundredths, n = 1, 3, 5, 7


@pytest.mark.parametrize(
    ("validation", "refused", "state", "why"),
    [
        ((0.5, 0.9, 0.9), 0, "steady", ""),
        ((0.5, 0.9, 0.81), 0, "steady", ""),
        ((0.5, 0.9, 0.79, 0.9), 0, "unstable", "fell by 11 points"),
        ((0.5, 0.9, 0.46), 0, "unstable", "fell by 44 points"),
        ((0.5, 0.9, 0.44), 0, "diverged", "ended at 44 % after 90 %"),
        ((0.5, 0.9, 0.9), 2, "diverged", "steps refused: 2"),
        ((0.05, 0.09, 0.08), 0, "diverged", "never above 10 %"),
        ((0.05, 0.11, 0.11), 0, "steady", ""),
        ((0.05, 0.10, 0.02), 1, "diverged", "steps refused: 1; ended at 2 % after 10 %; never above 10 %"),
    ],
)
def test_a_run_diverged_or_was_unstable_as_documented(
    tmp_path: Path, validation: tuple[float, ...], refused: int, state: str, why: str
) -> None:
    run = course(tmp_path, *validation, refused=refused)
    assert (run.state, run.why) == (state, why)
    assert (run.best, run["last"]) == (max(validation), validation[-1])


@pytest.mark.parametrize(("accuracy", "state"), [(0.74, "diverged"), (0.76, "steady")])
def test_of_two_classes_a_run_must_come_halfway_from_guessing_to_all(
    tmp_path: Path, accuracy: float, state: str
) -> None:
    assert course(tmp_path, accuracy, accuracy, n_way=2).state == state


def test_the_share_of_failed_runs_has_wilson_s_interval(tmp_path: Path) -> None:
    def accuracy(setting: int, seed: int, epoch: int) -> float:
        last = {0: 0.2, 1: 0.7}.get(seed, 0.9) if setting == 0 else 0.9
        return last if epoch == 3 else 0.9

    table = summary.failures(grid(tmp_path, accuracy, "stability", 10))
    maml, plus = line(table, "maml-strided"), line(table, "mamlpp-strided")
    assert (maml.n_runs, maml.diverged, maml.either) == (10, 1, 2)
    assert (maml.diverged_share, maml.either_share) == (0.1, 0.2)
    z, n, p = 1.959964, 10, 0.1
    centre, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = [(centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)]
    assert [maml.diverged_low, maml.diverged_high] == pytest.approx(expected, abs=1e-6)
    assert (plus.diverged, plus.diverged_low, plus.diverged_high) == (0, 0, pytest.approx(0.27753, abs=1e-5))


def test_a_setting_counts_its_runs_that_diverged_and_those_unstable(tmp_path: Path) -> None:
    falls = {0: 0.2, 1: 0.7, 2: 0.9}
    made = grid(tmp_path, lambda _, seed, epoch: falls[seed] if epoch == 3 else 0.9, "stability")
    maml = line(summary.settings(made), "maml-strided")
    assert (maml.diverged, maml.unstable) == (1, 1)


def test_the_examples_hold() -> None:
    result = doctest.testmod(summary)
    assert (result.attempted, result.failed) == (3, 0)
