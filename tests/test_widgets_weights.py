"""The data behind the explorer of the multi-step loss, its refusals and its picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.core.schedules import last_step_only, msl_weights
from mamlkit.show.widgets import WeightsExplorer

SCHEDULES = ("annealed", "off")
BEYOND = 1e9  # what stands beyond the number of steps is never read


def make_tables(n_steps: int = 3, epochs: int = 4) -> list[np.ndarray]:
    weights = np.full((2, n_steps, epochs, n_steps), BEYOND)
    for n, e in np.ndindex(n_steps, epochs):
        weights[0, n, e, : n + 1] = msl_weights(n + 1, e, 3)
        weights[1, n, e, : n + 1] = last_step_only(n + 1)
    plain = np.where(np.tri(n_steps) > 0, 0.4, BEYOND)
    return [weights, 0.5 * weights, 2.0 * weights, plain]


def test_all_four_tables_are_shipped_and_epoch_steps_and_schedule_are_controls() -> None:
    tables = make_tables()
    explorer = WeightsExplorer(*tables, schedules=SCHEDULES, at=(1, 2, 0))
    for name, table in zip(("weights", "direct", "chained", "plain"), tables):
        assert np.array_equal(shipped(explorer, name), table.astype(np.float32))
    assert explorer.places == "epoch 1, inner steps 3, schedule annealed"
    assert [len(control["values"]) for control in explorer.spec["controls"]] == [4, 3, 2]


def test_the_log_axis_encloses_what_is_read_and_nothing_else() -> None:
    explorer = WeightsExplorer(*make_tables(), schedules=SCHEDULES)
    assert explorer.spec["range"] == [-3, 1]  # 0.5 * 0.01, the floor, to 2.0
    weights, direct, chained, plain = make_tables()
    direct[0, 1, 0, 0] = np.inf
    chained[0, 1, 0, 1] = 700.0
    explorer = WeightsExplorer(weights, direct, chained, plain, schedules=SCHEDULES)
    assert explorer.spec["range"] == [-3, 3]


def test_the_picture_follows_the_controls_and_leaves_a_gap_where_a_number_is_not_finite() -> None:
    tables = make_tables()
    tables[1][0, 2, 1, 0] = np.nan
    explorer = WeightsExplorer(*tables, schedules=SCHEDULES)
    pictures = []
    for at in ([0, 2, 0], [1, 2, 0], [1, 1, 0], [1, 1, 1]):
        explorer.at = at
        pictures.append(np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L")).astype(int))
    assert all(picture.std() > 10 for picture in pictures)
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:]))


@pytest.mark.parametrize("place", range(4))
def test_a_table_of_another_shape_is_refused(place: int) -> None:
    tables = make_tables()
    tables[place] = tables[place][:-1]
    with pytest.raises(InputError, match="the tables have shapes"):
        WeightsExplorer(*tables, schedules=SCHEDULES)


def test_too_few_names_are_refused() -> None:
    with pytest.raises(InputError, match="1 schedules need"):
        WeightsExplorer(*make_tables(), schedules=("annealed",))
