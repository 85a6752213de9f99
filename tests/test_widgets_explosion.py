"""The data behind the explosion explorer, its refusals and its picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.show.widgets import ExplosionExplorer

CHOICES = {
    "network": ["pool", "strided"],
    "start": ["random", "trained"],
    "derivative order": ["second", "first"],
    "loss": ["last", "every"],
}
RATES = (0.1, 1.0, 4.0)


def make(bad: float = 5.0, **changes) -> ExplosionExplorer:
    norms = np.geomspace(1e-2, 1e4, 2 * 2 * 2 * 2 * 3 * 6 * 3).reshape(2, 2, 2, 2, 3, 6, 3)
    norms[1, 0, 0, 0, 2, 5] = bad
    given = {"choices": CHOICES, "rates": RATES, "layers": ["a", "b"], **changes}
    return ExplosionExplorer(norms, **given)


def test_every_norm_is_shipped_and_every_choice_is_a_control() -> None:
    explorer = make(bad=np.inf)
    assert shipped(explorer, "norms").shape == (2, 2, 2, 2, 3, 6, 3)
    assert np.isinf(shipped(explorer, "norms")[1, 0, 0, 0, 2, 5]).all()
    controls = explorer.spec["controls"]
    assert [len(control["values"]) for control in controls] == [6, 3, 2, 2, 2, 2]
    assert [control["kind"] for control in controls] == ["slider"] * 2 + ["choice"] * 4
    assert explorer.spec["layers"] == ["a", "b", "total"]


def test_the_axis_encloses_all_finite_norms() -> None:
    low, high = make(bad=np.inf).spec["range"]
    assert (low, high) == (-2, 4)


def test_the_picture_follows_the_controls_and_survives_infinity() -> None:
    explorer = make(bad=np.inf)
    first = np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L"))
    explorer.at = [5, 2, 1, 0, 0, 0]
    second = np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L"))
    assert first.std() > 10
    assert (first != second).any()


@pytest.mark.parametrize("changes", [{"rates": (0.1,)}, {"layers": ["a"]}, {"choices": {**CHOICES, "loss": ["last"]}}])
def test_names_that_do_not_fit_are_refused(changes) -> None:
    with pytest.raises(InputError, match="norms has shape"):
        make(**changes)


def test_a_place_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="inner rate = 3 is not one of its places; 0 to 2"):
        make(at=(0, 3, 0, 0, 0, 0))
