"""The pictures show the numbers of the table: read back from the artists, not from pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from grids import make_grid
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from mamlkit.study.reproduction import figures, summary
from mamlkit.study.reproduction.measurements import collect

FIGURES = (figures.accuracies, figures.differences, figures.curves, figures.gradients, figures.rates)


def grid(folder: Path, table: str, **more: Any) -> pd.DataFrame:
    return collect(make_grid(folder, table, **more), folder)


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return grid(tmp_path_factory.mktemp("ablation"), "omniglot-ablation", seeds=(0, 1, 2), dataset="omniglot")


@pytest.fixture(scope="module")
def stability(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return grid(tmp_path_factory.mktemp("stability"), "stability", seeds=(0, 1, 2))


def bars(axes: Axes, label: str) -> list[ErrorbarContainer]:
    return [bar for bar in axes.containers if isinstance(bar, ErrorbarContainer) and bar.get_label().startswith(label)]


def span(bar: ErrorbarContainer, number: int = 0) -> tuple[float, float]:
    (low, _), (high, _) = bar.lines[2][0].get_segments()[number]
    return low, high


def names(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def test_every_run_stands_with_its_interval_over_episodes(ablation: pd.DataFrame) -> None:
    [axes] = figures.accuracies(ablation).axes
    assert names(axes)[0] == "MAML"
    assert len(names(axes)) == 7
    runs = bars(axes, "a run")[0]
    assert runs.lines[0].get_xdata().tolist() == pytest.approx([63, 64, 65])  # 0.6 + 0.03, and a point for each seed
    assert span(runs, 2) == pytest.approx((64, 66))


def test_the_mean_stands_with_its_interval_over_seeds(ablation: pd.DataFrame) -> None:
    [axes] = figures.accuracies(ablation).axes
    mean = bars(axes, "mean")[0]
    half = 4.302653 * 1 / 3**0.5
    assert mean.lines[0].get_xdata().tolist() == pytest.approx([64])
    assert span(mean) == pytest.approx((64 - half, 64 + half))


def test_of_one_seed_there_is_no_interval_over_seeds(ablation: pd.DataFrame) -> None:
    one = ablation[ablation.seed == 0]
    [axes] = figures.accuracies(one).axes
    assert bars(axes, "mean")[0].lines[2] == ()
    assert bars(axes, "a run")[0].lines[2] != ()
    figure = figures.differences(one)
    assert figure is not None
    assert all(bar.lines[2] == () for bar in bars(figure.axes[0], ""))


def test_the_paper_s_numbers_stand_in_the_lines_they_belong_to(ablation: pd.DataFrame) -> None:
    [axes] = figures.accuracies(ablation).axes
    marks = [
        (m.get_label(), *m.get_xydata()[0].round(2).tolist()) for m in axes.get_lines() if m.get_label()[:5] == "paper"
    ]
    assert [(label, x, round(y)) for label, x, y in marks] == [
        ("paper: quoted by others", 95.8, 0),
        ("paper: text of the paper", 97.76, 6),
        ("paper: quoted by others", 97.65, 6),
    ]
    assert axes.get_xlim()[1] > 97.76


def test_strided_networks_and_turned_knobs_have_no_number_of_the_paper(tmp_path: Path) -> None:
    for table in ("stability", "paper-vs-code"):
        frame = grid(tmp_path / table, table, seeds=(0,), dataset="omniglot")
        rows = {setting: figures.established(frame, setting) for setting in frame.setting.unique()}
        assert {setting for setting, found in rows.items() if found} <= {"mamlpp", "mamlpp-authors", "half-the-tasks"}


def test_on_another_data_set_the_paper_has_no_mark(stability: pd.DataFrame) -> None:
    [axes] = figures.accuracies(stability).axes
    assert not any(line.get_label().startswith("paper") for line in axes.get_lines())


def test_a_number_with_inner_steps_belongs_to_the_setting_with_so_many(tmp_path: Path) -> None:
    frame = grid(tmp_path, "mini-imagenet", seeds=(0,), dataset="mini-imagenet")
    found = {
        setting: [row.accuracy for row in figures.established(frame, setting)] for setting in frame.setting.unique()
    }
    assert found["mamlpp-1shot-1steps"] == [51.05]
    assert found["mamlpp-1shot-3steps"] == []
    assert found["mamlpp-1shot-5steps"] == [52.15]
    assert found["maml-1shot"] == [48.70]
    assert found["mamlpp-5shot"] == [68.32]


def test_an_effect_stands_with_its_interval_and_verdict_and_is_filled_where_it_is_told(ablation: pd.DataFrame) -> None:
    changed = ablation.copy()
    chosen = (changed.setting == "maml+msl") & (changed.seed == 0) & (changed.measure == "test accuracy")
    changed.loc[chosen, "value"] += 0.3
    figure = figures.differences(changed)
    assert figure is not None
    [axes] = figure.axes
    effects = summary.effects(changed)
    assert names(axes) == effects.label.tolist()
    drawn = bars(axes, "")
    for bar, effect in zip(drawn, effects.itertuples()):
        assert bar.lines[0].get_xdata().tolist() == pytest.approx([100 * effect.difference])
        low, high = (100 * (effect.difference + sign * effect.over_seeds) for sign in (-1, 1))
        assert span(bar) == pytest.approx((low, high))
    assert [text.get_text() for text in axes.texts] == effects.verdict.tolist()
    assert [bar.lines[0].get_markerfacecolor() == "white" for bar in drawn] == [True] + [False] * 5
    assert any(set(line.get_xdata()) == {0} for line in axes.get_lines())


def test_without_anything_to_compare_there_is_no_picture(ablation: pd.DataFrame) -> None:
    assert figures.differences(ablation[ablation.setting == "maml"]) is None


def test_curves_are_means_in_a_band_against_iterations_minutes_and_arithmetic(ablation: pd.DataFrame) -> None:
    panels = figures.curves(ablation).axes
    assert [axes.get_xlabel() for axes in panels] == [
        "meta-iterations",
        "minutes of training and validation",
        "GFLOP of training, counted",
    ]
    for axes, x in zip(panels, ([4, 8, 12], [0.5, 1, 1.5], None)):
        assert len(axes.get_lines()) == 7
        line, band = axes.get_lines()[1], axes.collections[1].get_paths()[0].vertices
        assert line.get_label() == "MAML + multi-step loss"
        assert line.get_ydata().tolist() == pytest.approx([64, 65, 66])  # second setting, mean of three seeds
        assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((63, 67))
        if x:
            assert line.get_xdata().tolist() == pytest.approx(x)
    rows = ablation[
        (ablation.measure == "validation accuracy") & (ablation.setting == "maml+msl") & (ablation.seed == 0)
    ]
    assert panels[2].get_lines()[1].get_xdata().tolist() == pytest.approx((rows.flop / 1e9).tolist())


def test_arithmetic_has_a_unit_of_its_size(stability: pd.DataFrame) -> None:
    large = stability.assign(flop=stability.flop * 1e7)
    assert figures.curves(large).axes[2].get_xlabel() == "PFLOP of training, counted"


def test_of_two_settings_every_run_is_a_line(stability: pd.DataFrame) -> None:
    lines = figures.curves(stability).axes[0].get_lines()
    assert len(lines) == 2 * 3
    assert [line.get_ydata()[0] for line in lines] == pytest.approx([61, 62, 63, 63, 64, 65])


def test_gradients_are_on_log_axes_and_the_inner_ones_of_the_last_epoch(stability: pd.DataFrame) -> None:
    left, right = figures.gradients(stability).axes
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")
    assert left.get_lines()[0].get_ydata().tolist() == pytest.approx([2.5, 1.25, 2.5 / 3])
    changed = stability.copy()
    changed.loc[(changed.measure == "inner gradient norm") & (changed.epoch == 3), "value"] *= 10
    line = figures.gradients(changed).axes[1].get_lines()[0]
    assert line.get_xydata().tolist() == pytest.approx(np.array([[k, 21 - k] for k in range(5)]))


def test_rates_are_means_over_seeds_of_the_settings_that_learn_them(ablation: pd.DataFrame) -> None:
    changed = ablation.copy()
    chosen = (changed.measure == "inner rate") & (changed.setting == "mamlpp") & (changed.seed == 2)
    changed.loc[chosen, "value"] = 0.06  # where the other two seeds have 0.03
    figure = figures.rates(changed)
    assert figure is not None
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title("left") for axes in maps] == ["MAML + learned inner rates", "MAML++"]
    tables = [axes.images[0].get_array() for axes in maps]
    assert tables[0].shape == (10, 5)
    assert tables[0].tolist() == pytest.approx(np.full((10, 5), 0.03))
    assert tables[1].tolist() == pytest.approx(np.full((10, 5), 0.04))


def test_where_no_rate_was_learned_there_is_no_picture(ablation: pd.DataFrame) -> None:
    assert figures.rates(ablation[ablation.setting.isin(["maml", "maml+ca"])]) is None


def test_thirteen_lines_differ_by_more_than_colour_and_every_label_fits(tmp_path: Path) -> None:
    frame = grid(tmp_path, "paper-vs-code", seeds=(0,))
    figure = figures.curves(frame)
    lines = figure.axes[0].get_lines()
    assert len(lines) == 13
    assert len({line.get_marker() for line in lines}) == 13
    figure.canvas.draw()
    width = figure.get_window_extent().width
    [legend] = figure.legends
    assert len(legend.get_texts()) == 13
    assert legend.get_window_extent().x0 >= 0
    assert legend.get_window_extent().x1 <= width


@pytest.mark.parametrize("draw", FIGURES)
def test_nothing_is_shown_or_kept_by_pyplot(stability: pd.DataFrame, draw: Any) -> None:
    figure = draw(stability)
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == []
