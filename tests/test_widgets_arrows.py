"""The data behind the explorer of the two meta-gradients, its refusals and its picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.show.widgets import ArrowExplorer
from mamlkit.show.widgets.arrows import _angle

RNG = np.random.default_rng(0)
PATHS = RNG.normal(size=(2, 3, 4, 2))
GRADIENTS = RNG.normal(size=(2, 3, 4, 2, 2))
CONTOURS = RNG.normal(size=(2, 2, 2, 5, 2))


def make(paths=PATHS, gradients=GRADIENTS, contours=CONTOURS, **options) -> ArrowExplorer:
    given = {"curvatures": ("round", "steep"), "rates": (0.1, 0.2, 0.5), "reach": 2.0, **options}
    return ArrowExplorer(paths, gradients, contours, **given)


def test_all_three_tables_are_shipped_and_rate_steps_and_curvature_are_controls() -> None:
    explorer = make(at=(1, 3, 0))
    for name, table in (("paths", PATHS), ("gradients", GRADIENTS), ("contours", CONTOURS)):
        assert np.array_equal(shipped(explorer, name), table.astype(np.float32))
    assert explorer.places == "inner rate 0.2, inner steps 3, curvature round"
    assert [len(control["values"]) for control in explorer.spec["controls"]] == [3, 4, 2]


def test_the_axis_of_lengths_is_cut_where_they_run_away() -> None:
    assert make(gradients=np.full_like(GRADIENTS, 1e30)).spec["range"] == [0, 4]
    assert make(gradients=np.full_like(GRADIENTS, 0.03)).spec["range"] == [-2, 0]
    assert make(gradients=np.full_like(GRADIENTS, np.nan)).spec["range"] == [0, 1]


def test_the_picture_follows_the_controls_and_stands_what_is_far_off_or_not_finite() -> None:
    paths, gradients = PATHS.copy(), GRADIENTS.copy()
    paths[1, 2, 2:] = 1e6, np.inf
    gradients[1, 2, 3, 1] = np.nan
    explorer = make(paths, gradients)
    pictures = []
    for at in ([0, 0, 0], [0, 3, 0], [2, 3, 0], [2, 3, 1]):
        explorer.at = at
        pictures.append(np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L")).astype(int))
    assert all(picture.std() > 10 for picture in pictures)
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:]))


def test_the_angle_is_measured_in_degrees_and_missing_for_a_zero() -> None:
    assert _angle(np.array([1.0, 0.0]), np.array([0.0, 3.0])) == pytest.approx(90)
    assert _angle(np.array([1.0, 1.0]), np.array([-2.0, -2.0])) == pytest.approx(180)
    assert np.isnan(_angle(np.array([1.0, 0.0]), np.zeros(2)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"paths": PATHS[:1]},
        {"gradients": GRADIENTS[:, :, :3]},
        {"contours": CONTOURS[:, :1]},
        {"contours": CONTOURS[..., 0]},
        {"rates": (0.1,)},
        {"curvatures": ("round",)},
    ],
)
def test_tables_and_names_that_do_not_fit_are_refused(wrong) -> None:
    with pytest.raises(InputError, match="paths, gradients and contours have shapes"):
        make(**wrong)


@pytest.mark.parametrize("reach", [0.0, -1.0, float("nan")])
def test_a_picture_without_extent_is_refused(reach: float) -> None:
    with pytest.raises(InputError, match="reach"):
        make(reach=reach)
