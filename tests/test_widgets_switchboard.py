"""The data behind the switchboard explorer, its intervals, its refusals and its picture."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.show.widgets import SwitchboardExplorer
from mamlkit.show.widgets.switchboard import mean_t95

RNG = np.random.default_rng(0)
FIXES = {"a": "a: the first", "b": "b: the second", "c": "c: the third"}
VAL = RNG.uniform(0.5, 0.9, (8, 3, 4))
TEST = RNG.uniform(0.6, 0.9, (8, 3))
NORM = RNG.uniform(1, 3, (8, 3, 4))


def make(val=VAL, test=TEST, norm=NORM, *, on=("b",), **changes) -> SwitchboardExplorer:
    return SwitchboardExplorer(val, test, norm, **{"fixes": FIXES, "iterations": [5, 10, 15, 20], "on": on, **changes})


def grey(explorer: SwitchboardExplorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L")).astype(int)


def test_means_ranges_and_medians_over_seeds_are_shipped() -> None:
    explorer = make()
    val = shipped(explorer, "val")
    assert val.shape == (8, 3, 4)
    for row, reduce in enumerate((np.mean, np.min, np.max)):
        assert np.allclose(val[:, row], reduce(VAL, axis=1))
    assert np.allclose(shipped(explorer, "norm"), np.median(NORM, axis=1))
    assert np.allclose(shipped(explorer, "test")[:, 0], TEST.mean(1))


def test_the_interval_is_students_t_over_seeds() -> None:
    mean, half = mean_t95(np.array([[0.80, 0.82, 0.87], [0.5, 0.5, 0.5]]))
    assert np.allclose(mean, [0.83, 0.5])
    assert np.allclose(half, [4.302653 * np.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2 / 3), 0], atol=1e-7)


def test_the_difference_from_maml_is_taken_seed_by_seed() -> None:
    steady = np.array([0.70, 0.80, 0.60]) + 0.02 * np.arange(8)[:, None]  # seeds differ, the gain does not
    shown = shipped(make(test=steady), "test")
    assert np.allclose(shown[:, 2], 0.02 * np.arange(8), atol=1e-6)
    assert np.abs(shown[:, 3]).max() < 1e-6
    assert shown[:, 1].min() > 0.1


def test_each_fix_is_a_choice_and_the_given_ones_are_on() -> None:
    explorer = make(on=("a", "c"))
    assert explorer.at == [1, 0, 1]
    assert [control["kind"] for control in explorer.spec["controls"]] == ["choice"] * 3
    assert explorer.places == "a: the first on, b: the second off, c: the third on"


def test_the_chosen_combination_has_bit_i_for_fix_i() -> None:
    explorer = make(on=("a", "b"))
    gain, half = (100 * x for x in mean_t95(TEST[0b011] - TEST[0]))
    assert f"{gain:+.1f} points" in explorer._difference(0b011)
    assert f"{gain - half:+.1f} to {gain + half:+.1f}" in explorer._difference(0b011)
    changed = VAL.copy()
    changed[0b011] = 0.95
    assert (grey(explorer) != grey(make(changed, on=("a", "b")))).any()
    other = VAL.copy()
    other[0b110] += 0.001
    assert (grey(explorer) == grey(make(other, on=("a", "b")))).all()  # a combination that is not shown


def test_the_picture_follows_the_switches_and_is_not_blank() -> None:
    explorer = make(on=())
    first = grey(explorer)
    explorer.at = [0, 1, 1]
    assert first.std() > 10
    assert first.shape != grey(explorer).shape or (first != grey(explorer)).any()


def test_ticks_enclose_all_values_and_a_missing_value_is_left_out() -> None:
    broken, test = VAL.copy(), TEST.copy()
    broken[3, 1, 2], test[5, 0] = np.nan, np.nan
    explorer = make(broken, test)
    ticks = explorer.spec["valTicks"]
    assert ticks[0] <= 100 * np.nanmin(VAL) < 100 * np.nanmax(VAL) <= ticks[-1]
    assert 2 <= len(ticks) <= 8
    assert np.isnan(shipped(explorer, "val")[3, 0, 2])
    [spec] = re.findall(r'data-spec="([^"]*)"', explorer.html())
    assert "NaN" not in spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": TEST[:4]}, r"test has shape \[4, 3\]; \[8, seeds\]"),
        ({"test": TEST[:, :1]}, "with 2 or more seeds"),
        ({"val": VAL[:, :2]}, r"val has shape \[8, 2, 4\]; \[8, 3, 4\] is allowed"),
        ({"norm": NORM[..., :3]}, r"grad_norm has shape \[8, 3, 3\]"),
        ({"fixes": {}}, "fixes has 0 names; one to six"),
        ({"on": ("d",)}, "on = d is no fix; choose of a, b, c"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**changes)
