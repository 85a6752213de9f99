"""Characters as the pad draws them: the same pictures as the starts were trained on, and bad ones refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.datasets import glyphs as glyphs_module
from mamlkit.datasets.drawings import rasterise
from mamlkit.datasets.drawings.tracing import trace
from mamlkit.show.live import pictures
from mamlkit.show.live.pictures import as_drawn, load_characters


def test_a_glyph_is_drawn_as_from_the_data_set_in_the_size_of_the_training() -> None:
    small = load_characters("glyphs")
    assert small.images.shape[1:] == (28, 28)
    some = small.images[::1500]
    for image, large in zip(some, glyphs_module._resize(some, 105)):  # which load("glyphs", image_size=105) calls
        assert np.array_equal(as_drawn(image), rasterise(trace(large)))


def test_a_drawing_drawn_again_is_much_the_same(glyphs: ImageStore) -> None:
    square = ((10, 10), (90, 10), (90, 90), (10, 90), (10, 10))
    drawn = rasterise((square,))
    again = as_drawn(drawn)
    assert again.shape == (28, 28)
    assert again.dtype == np.uint8
    alike = [np.corrcoef(drawn.ravel(), other.ravel())[0, 1] for other in (again, as_drawn(glyphs.images[0]))]
    assert alike[0] > 0.85
    assert alike[1] < 0.5


def test_omniglot_keeps_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "load", lambda name, image_size: (name, image_size))
    assert load_characters("omniglot") == ("omniglot", 105)


@pytest.mark.parametrize("brightest", [0, 127])
def test_a_picture_without_ink_is_refused(brightest: int) -> None:
    with pytest.raises(InputError, match=f"brightest pixel is {brightest}; ink above 127"):
        as_drawn(np.full((105, 105), brightest, np.uint8))


def test_a_data_set_without_characters_is_refused() -> None:
    with pytest.raises(
        InputError, match=re.escape("dataset = 'mini-imagenet' is unknown; choose one of glyphs, omniglot")
    ):
        load_characters("mini-imagenet")
