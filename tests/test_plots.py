"""The pictures show the numbers they were given: read back from the artists, not from pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mamlkit.show import plots


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def test_accuracy_is_drawn_in_percent_with_its_band_and_chance(axes: Axes) -> None:
    rows = [{"iteration": 10 * i, "accuracy": 0.5 + 0.1 * i, "ci95": 0.02} for i in (1, 2)]
    plots.accuracy_curves(axes, {"MAML": rows, "MAML++": rows[:1]}, chance=0.2)
    first, second, chance = axes.get_lines()
    assert first.get_xydata().tolist() == [[10, 60], [20, 70]]
    assert [first.get_label(), second.get_label()] == ["MAML", "MAML++"]
    assert first.get_linestyle() != second.get_linestyle()  # colour is never alone
    assert set(chance.get_ydata()) == {20}
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((58, 72))


def test_meta_gradients_are_on_a_log_axis_and_those_not_finite_are_crosses(axes: Axes) -> None:
    norms = [1.0, math.nan, 100.0, math.inf]
    rows = [{"iteration": i, "grad_norm": norm, "finite": math.isfinite(norm)} for i, norm in enumerate(norms)]
    plots.meta_gradient_norms(axes, {"MAML": rows})
    assert axes.get_yscale() == "log"
    dots, median, crosses = axes.get_lines()
    assert dots.get_xydata().tolist() == [[0, 1], [2, 100]]
    assert median.get_ydata().tolist() == [50.5, 50.5]
    assert (crosses.get_marker(), crosses.get_xdata().tolist()) == ("x", [1, 3])
    assert crosses.get_label() == "MAML: 2 not finite"


def test_the_line_is_the_running_median_and_keeps_no_spike(axes: Axes) -> None:
    rows = [{"iteration": i, "grad_norm": 1e6 if i == 50 else 2.0, "finite": True} for i in range(100)]
    plots.meta_gradient_norms(axes, {"MAML": rows})
    assert set(axes.get_lines()[1].get_ydata()) == {2.0}


def test_each_inner_step_has_a_line_of_its_own_width(axes: Axes) -> None:
    rows = [{"iteration": i, "step": k, "norm": 10.0**-k} for i in range(3) for k in range(4)]
    plots.inner_gradient_norms(axes, rows)
    lines = axes.get_lines()
    assert [line.get_ydata()[0] for line in lines] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert len({line.get_linewidth() for line in lines}) == len({str(line.get_color()) for line in lines}) == 4


@pytest.mark.parametrize("value", ["shift", "spread"])
def test_drift_draws_support_solid_and_query_dashed_for_each_layer(axes: Axes, value: str) -> None:
    rows = [
        {"layer": layer, "step": k, "pass": which, "shift": k + number, "spread": 2 * k + number}
        for number, layer in enumerate(("norms.0", "norms.1"))
        for k in range(3)
        for which in ("support", "query")
    ]
    plots.drift(axes, rows, value=value)
    lines = axes.get_lines()
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-", "--"]
    step = {"shift": 1, "spread": 2}[value]
    assert lines[2].get_ydata().tolist() == [1, 1 + step, 1 + 2 * step]
    assert lines[0].get_marker() != lines[2].get_marker()
    plots.drift(axes, rows, value=value)
    [legend] = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["norms.0", "norms.1"]


def test_the_rate_map_is_the_table_with_the_start_in_the_middle(axes: Axes) -> None:
    table = np.array([[0.1, 0.2], [-0.05, 0.1], [0.1, 0.1]])
    rows = [{"tensor": f"t{i}", "step": k, "rate": float(rate)} for (i, k), rate in np.ndenumerate(table)]
    plots.rate_map(axes, rows, start=0.1)
    [image] = axes.get_images()
    assert np.array_equal(image.get_array(), table)
    assert image.norm(0.1) == 0.5
    assert [text.get_text() for text in axes.texts] == ["0.100", "0.200", "-0.050", "0.100", "0.100", "0.100"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["t0", "t1", "t2"]


def test_a_rate_map_of_rates_that_never_moved_is_drawn(axes: Axes) -> None:
    plots.rate_map(axes, [{"tensor": "head", "step": 0, "rate": 0.1}], start=0.1)
    assert axes.get_images()[0].norm(0.1) == 0.5
