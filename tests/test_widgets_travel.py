"""The data behind the time-travel explorer, its refusals and its picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.show.live.travel import Travel
from mamlkit.show.widgets import TravelExplorer

K, N, G = 3, 3, 5
NAMES = ("convs.0.weight", "head.weight")


def make_travel(seed: int = 0, **changes: object) -> Travel:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    return Travel(
        names=NAMES,
        axis=torch.linspace(-2, 2, G),
        surfaces=draw(K + 1, G, G) + 0.1,
        path=draw(K + 1, K + 1, 2),
        update_norms=draw(K, len(NAMES)),
        rates=draw(len(NAMES), K) - 0.3,
        confusion=(9 * draw(K + 1, N, N)).long(),
        support_loss=draw(K + 1),
        reached_loss=draw(K),
        query_loss=draw(K + 1),
        query_accuracy=draw(K + 1),
    )._replace(**changes)


ONE, TWO = make_travel(), make_travel(1)


def make(**changes: object) -> TravelExplorer:
    return TravelExplorer({"random": ONE, "MAML": make_travel(1, **changes)})


def grey(explorer: TravelExplorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L")).astype(int)


def test_every_number_of_every_step_and_start_is_shipped() -> None:
    explorer = make()
    for name, of in (
        ("surfaces", "surfaces"),
        ("path", "path"),
        ("norms", "update_norms"),
        ("confusion", "confusion"),
        ("support", "support_loss"),
        ("reached", "reached_loss"),
        ("query", "query_loss"),
        ("accuracy", "query_accuracy"),
    ):
        both = np.stack([getattr(one, of).numpy() for one in (ONE, TWO)])
        assert np.array_equal(shipped(explorer, name), both.astype(np.float32)), name
    assert np.array_equal(shipped(explorer, "rates"), np.stack([ONE.rates.T.numpy(), TWO.rates.T.numpy()]))
    assert explorer.spec["tensors"] == list(NAMES)
    assert explorer.spec["reach"] == 2


def test_step_and_start_are_the_controls() -> None:
    explorer = TravelExplorer({"random": ONE, "MAML": TWO}, at=(2, 1))
    assert explorer.places == "inner steps made 2 of 3, start MAML"
    assert repr(explorer) == "TravelExplorer(inner steps made 2 of 3, start MAML)"
    assert [(control["kind"], len(control["values"])) for control in explorer.spec["controls"]] == [
        ("slider", K + 1),
        ("choice", 2),
    ]


def test_the_picture_follows_both_controls() -> None:
    explorer = make()
    pictures = [grey(explorer)]
    for at in ([1, 0], [1, 1], [3, 1]):
        explorer.at = at
        pictures.append(grey(explorer))
    assert all(picture.std() > 10 for picture in pictures)
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:]))


def test_where_the_query_loss_is_not_finite_nothing_is_counted_as_right() -> None:
    lost = TWO.query_loss.clone()
    lost[2] = torch.nan
    explorer = make(query_loss=lost)
    assert np.isnan(shipped(explorer, "confusion")[1, 2]).all()
    assert np.isnan(shipped(explorer, "accuracy")[1, 2])
    assert np.isfinite(shipped(explorer, "confusion")[0]).all()
    assert np.isfinite(shipped(explorer, "confusion")[1, [0, 1, 3]]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_can_be_drawn_and_never_enter_the_json(value: float) -> None:
    fields = ("surfaces", "path", "update_norms", "rates", "support_loss", "reached_loss", "query_loss")
    broken = {field: torch.full_like(getattr(TWO, field), value) for field in fields}
    explorer = make(**broken)
    explorer.at = [1, 1]
    assert grey(explorer).std() > 10
    spec, _, rest = explorer.html().partition("data-payload=")
    assert "NaN" not in spec
    assert "Infinity" not in spec
    assert "of its values are not finite" in rest


def test_its_style_comes_with_the_common_one() -> None:
    assert ".travel" in make()._css
    assert ".mamlkit-explorer .frame" in make()._css


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("a", "b")}, r"names of random is \['convs.0.weight', 'head.weight'\] and of MAML is \['a', 'b'\]"),
        ({"axis": torch.linspace(-1, 1, G)}, "axis of random is"),
        ({"rates": torch.rand(2, K + 1)}, r"rates of random is \[2, 3\] and of MAML is \[2, 4\]"),
        ({"confusion": torch.zeros(K + 1, 4, 4)}, "confusion of random is"),
    ],
)
def test_starts_that_do_not_fit_together_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_no_start_and_a_step_that_is_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="travels is empty"):
        TravelExplorer({})
    with pytest.raises(InputError, match="inner steps made = 4 is not one of its places; 0 to 3"):
        TravelExplorer({"random": ONE}, at=(4, 0))
