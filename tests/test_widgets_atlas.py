"""The figure of the atlas: its numbers as bytes, its controls, its refusals and its picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.show.widgets import AtlasExplorer
from mamlkit.show.widgets.atlas import as_levels

AXES = [["A", "B"], ["MAML", "MAML++"], ["1", "5"], ["0.1", "0.4"]]


def make(**changes: Any) -> AtlasExplorer:
    norms = np.geomspace(1e-3, 1e9, 16 * 6).reshape(2, 2, 2, 2, 6)
    norms[1, 0, 1, 1, 2:] = np.nan
    given: dict[str, Any] = {
        "dead": np.arange(16).reshape(2, 2, 2, 2) % 4,
        "accuracy": np.linspace(0.2, 0.9, 16).reshape(2, 2, 2, 2),
        "curves": {"loss": np.ones((2, 2, 2, 2, 6)), "grad_norm": norms},
        "inner_norms": {steps: np.full((2, 2, 2, 3, steps, 2), 10.0 * steps) for steps in (1, 5)},
        "axes": AXES,
        "runs": 3,
        "shown": np.zeros((2, 2, 2, 2)),
        "seeds": [0, 1, 2],
        "layers": [2, 1],
        "why": [""] * 15 + ["steps refused: 3"],
        **changes,
    }
    return AtlasExplorer(**given)


def test_numbers_over_many_decades_are_bytes_and_zero_is_not_finite() -> None:
    levels = as_levels(np.array([1e-9, 1e-2, 1e1, 1e4, 1e9, np.inf, np.nan, 0.0]), (-2, 4))
    assert levels.tolist() == [1, 1, 128, 255, 255, 0, 0, 1]
    decoded = 10 ** (-2 + (as_levels(np.array([3.7]), (-2, 4)) - 1.0) / 254 * 6)
    assert decoded == pytest.approx(3.7, rel=0.03)


def test_every_cell_is_shipped_with_its_course_and_a_control_for_each_axis() -> None:
    explorer = make()
    assert shipped(explorer, "dead").shape == (2, 2, 2, 2)
    assert shipped(explorer, "grad_norm").dtype == np.uint8
    assert shipped(explorer, "grad_norm").shape == (2, 2, 2, 2, 3)  # meta-iterations 1, 3 and 5 of 6
    assert (shipped(explorer, "grad_norm") == 0).sum() == 2
    assert shipped(explorer, "inner_norms.5").shape == (2, 2, 2, 2, 5, 2)  # epochs 1 and 3 of 3
    controls = explorer.spec["controls"]
    assert [control["label"] for control in controls] == [
        "network",
        "method",
        "inner steps",
        "inner rate",
        "meta-iteration",
    ]
    assert [len(control["values"]) for control in controls] == [2, 2, 2, 2, 3]
    assert controls[-1]["values"] == ["1", "3", "5"]
    assert [control["kind"] for control in controls] == ["choice", "choice", "slider", "slider", "slider"]
    assert explorer.spec["ranges"] == {"loss": [0, 1], "grad_norm": [-3, 6], "inner_norms": [-4, 6]}
    assert (explorer.spec["total"], explorer.spec["epochs"], explorer.spec["every"]) == (6, 3, 2)


def test_the_picture_follows_the_controls_and_survives_what_is_not_finite() -> None:
    explorer = make()
    pictures = []
    for at in ([0, 0, 0, 0, 0], [1, 0, 1, 1, 2]):
        explorer.at = at
        pictures.append(np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L")))
    assert pictures[0].std() > 10
    assert (pictures[0] != pictures[1]).any()


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"^dead has shape \(2, 2, 2, 2\); the names ask for \(2, 2, 2, 1\)$"):
        make(axes=[*AXES[:3], ["0.1"]])
