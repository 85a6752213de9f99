"""``load``: one door to all data sets."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mamlkit.core.errors import InputError
from mamlkit.datasets import load


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("omniglott", {}, "'omniglott' is unknown (did you mean 'omniglot'?); choose one of glyphs, omniglot, mini"),
        ("xyz", {}, "'xyz' is unknown; choose one of glyphs, omniglot, mini-imagenet, folder, wall"),
        ("glyphs", {"image_size": 0}, "image_size = 0 is out of range; 1 to 1024 is allowed"),
        ("omniglot", {"image_size": 1025}, "image_size = 1025 is out of range; 1 to 1024 is allowed"),
        ("omniglot", {"path": "pictures"}, "path = 'pictures' has no meaning for omniglot; leave it empty"),
    ],
)
def test_bad_arguments_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load(name, **options)
