"""Recipes of other methods; tests/test_recipes.py has what each changes on glyphs."""

from __future__ import annotations

import pytest

from mamlkit import RECIPES, Config
from mamlkit.core import baselines


@pytest.mark.parametrize(("k_shot", "q_query"), [(1, 9), (4, 9), (5, 10)])
def test_reptile_trains_on_more_images_of_a_class_than_are_given(k_shot: int, q_query: int) -> None:
    assert RECIPES["reptile"].changes(Config(k_shot=k_shot))["q_query"] == q_query


def test_every_baseline_names_its_source_and_is_a_recipe() -> None:
    functions = [baselines.meta_sgd, baselines.reptile, baselines.protonet]
    assert [recipe.change for recipe in RECIPES.values()][-3:] == functions
    assert all("arXiv:" in str(function.__doc__) for function in functions)
