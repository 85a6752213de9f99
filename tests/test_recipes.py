"""Recipes: what each changes, written out by hand, and which value wins where two are given."""

from __future__ import annotations

import doctest
import re
from typing import Any

import pytest

from mamlkit import RECIPES, Config, InputError, configure
from mamlkit.core import recipes
from mamlkit.core.schedules import outer_lr

THIRD = 1 / 3
FIXES: dict[str, Any] = {
    "multi_step_loss": True,
    "first_order_share": THIRD,
    "per_step_bn": True,
    "per_step_stats": True,
    "learn_inner_lrs": True,
    "cosine_lr": True,
}
AUTHORS: dict[str, Any] = {"first_order_share": 0.0, "beta2": 0.999, "ensemble": 5}
REPTILE: dict[str, Any] = {"method": "reptile", "second_order": False, "adapt_norms": True, "outer_lr": 0.003}
REPTILE |= {"q_query": 9, "n_steps": 10, "eval_steps": 20}
# What a recipe changes in its base, on glyphs.
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "maml": ("", {"beta2": 0.99, "ensemble": 3}),
    "fomaml": ("maml", {"second_order": False}),
    "maml+msl": ("maml", {"multi_step_loss": True}),
    "maml+da": ("maml", {"first_order_share": THIRD}),
    "maml+bn": ("maml", {"per_step_bn": True, "per_step_stats": True}),
    "maml+lslr": ("maml", {"learn_inner_lrs": True}),
    "maml+ca": ("maml", {"cosine_lr": True}),
    "mamlpp": ("maml", FIXES),
    "mamlpp-text": ("mamlpp", {"norm_train": "running", "norm_eval": "running"}),
    "mamlpp-authors": ("mamlpp", {**AUTHORS, "n_tasks": 8, "q_query": 1, "eval_query": 1}),
    "anil": ("maml", {"adapt": "head"}),
    "boil": ("maml", {"adapt": "body"}),
    "maml+wd": ("maml", {"inner_decay": 1e-3}),
    "meta-sgd": ("maml", {"learn_inner_lrs": True, "inner_lr_per": "number"}),
    "reptile": ("maml", REPTILE),
    "protonet": ("maml", {"method": "protonet", "second_order": False, "n_steps": 1}),
}
OTHER_PAPERS = {
    "anil": "Raghu et al., ICLR 2020; protocol as ``maml``",
    "boil": "Oh et al., ICLR 2021; protocol as ``maml``",
    "maml+wd": "Not in the paper",
    "meta-sgd": "arXiv:1707.09835; protocol\nas ``maml``",
    "reptile": "arXiv:1803.02999, in batches of tasks",
    "protonet": "arXiv:1703.05175",
}
MINI_IMAGENET = {"image_size": 84, "filters": 48, "q_query": 15, "eval_query": 15, "grad_clamp": 10.0}
# What two recipes change on another data set; all the others change there what they change on glyphs.
ELSEWHERE: list[tuple[Config, str, dict[str, Any]]] = [
    (Config(dataset="omniglot"), "maml", {"beta2": 0.99, "ensemble": 3, "rotation": "classes"}),
    (
        Config(dataset="omniglot"),
        "mamlpp-authors",
        {**AUTHORS, "n_tasks": 8, "q_query": 1, "eval_query": 1, "rotation": "episodes"},
    ),
    (Config(dataset="mini-imagenet"), "maml", {"beta2": 0.99, "ensemble": 3, **MINI_IMAGENET}),
    (
        Config(dataset="mini-imagenet", k_shot=5),
        "maml",
        {"beta2": 0.99, "ensemble": 3, "n_tasks": 2, **MINI_IMAGENET},
    ),
    (
        Config(dataset="mini-imagenet"),
        "mamlpp-authors",
        {**AUTHORS, "n_tasks": 2, "msl_share": 0.15, "cosine_lr": False},
    ),
    (Config(dataset="mini-imagenet", k_shot=5), "mamlpp-authors", {**AUTHORS, "msl_share": 0.15, "cosine_lr": False}),
    (Config(dataset="folder"), "maml", {"beta2": 0.99, "ensemble": 3}),
]
DATASETS = ("glyphs", "omniglot", "mini-imagenet", "folder")


def test_the_examples_in_the_docstrings_are_right() -> None:
    result = doctest.testmod(recipes)
    assert result.attempted >= 1
    assert result.failed == 0


def test_the_recipes_are_those_of_the_paper_and_their_neighbours() -> None:
    assert list(RECIPES) == list(CHANGES)
    assert all(recipe.name == name for name, recipe in RECIPES.items())


@pytest.mark.parametrize("name", CHANGES)
def test_a_recipe_changes_in_its_base_exactly_what_it_says(name: str) -> None:
    base, changes = CHANGES[name]
    assert RECIPES[name].base == base
    assert RECIPES[name].changes(Config()) == changes


@pytest.mark.parametrize(("config", "name", "changes"), ELSEWHERE, ids=lambda value: getattr(value, "dataset", None))
def test_some_recipes_depend_on_the_data_set(config: Config, name: str, changes: dict[str, Any]) -> None:
    assert RECIPES[name].changes(config) == changes


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("maml", "mamlpp-authors")])
def test_all_the_others_do_not(name: str, dataset: str) -> None:
    assert RECIPES[name].changes(Config(dataset=dataset)) == CHANGES[name][1]


def test_plain_maml_has_no_fix_and_mamlpp_has_all_six() -> None:
    maml, mamlpp = configure("maml"), configure("mamlpp")
    off = {
        "multi_step_loss": False,
        "first_order_share": 0.0,
        "per_step_bn": False,
        "per_step_stats": False,
        "learn_inner_lrs": False,
        "cosine_lr": False,
        "second_order": True,
        "adapt": "all",
        "norm_eval": "batch",
        "inner_lr": 0.1,
        "n_steps": 5,
    }
    assert {key: getattr(maml, key) for key in off} == off
    assert {key: getattr(mamlpp, key) for key in off} == {**off, **FIXES}


def test_mamlpp_is_the_five_recipes_with_one_fix_in_one() -> None:
    together: dict[str, Any] = {}
    for name in ("maml+msl", "maml+da", "maml+bn", "maml+lslr", "maml+ca"):
        together |= RECIPES[name].changes(Config())
    assert RECIPES["mamlpp"].changes(Config()) == together


def test_plain_maml_takes_every_fix_out_of_what_it_is_given() -> None:
    assert RECIPES["maml"].apply(configure("mamlpp")) == configure("maml")
    changed = Config.from_dict({"norm_eval": "running", "adapt": "head", "second_order": False})
    assert RECIPES["maml"].apply(changed) == configure("maml")


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in OTHER_PAPERS])
def test_a_docstring_says_what_follows_the_text_and_what_the_code(name: str) -> None:
    assert re.search(r"\b(Text|Code|Text and code): ", RECIPES[name].doc)


@pytest.mark.parametrize(("name", "paper"), OTHER_PAPERS.items())
def test_a_recipe_of_another_paper_names_it(name: str, paper: str) -> None:
    assert paper in RECIPES[name].doc


def test_a_task_of_reptile_has_two_minibatches_of_query_images_or_more() -> None:
    assert [configure("reptile", k_shot=k).q_query for k in (1, 5)] == [9, 10]


def test_a_value_given_by_hand_goes_before_the_recipe() -> None:
    config = configure("mamlpp", cosine_lr=False, beta2=0.5, n_steps=3)
    assert config.difference(configure("mamlpp")) == {"n_steps": 3, "cosine_lr": False, "beta2": 0.5}
    config = configure("maml", dataset="mini-imagenet", k_shot=5, image_size=42, n_tasks=7, data_path="pictures")
    assert (config.image_size, config.n_tasks, config.filters, config.k_shot) == (42, 7, 48, 5)
    assert configure("maml", dataset="omniglot", rotation="none").rotation == "none"


def test_a_value_that_is_the_default_still_goes_before_the_recipe() -> None:
    assert configure("maml", beta2=0.999, ensemble=1) == Config()
    assert configure("mamlpp", learn_inner_lrs=False).learn_inner_lrs is False


@pytest.mark.parametrize("name", CHANGES)
def test_without_values_a_recipe_is_what_it_makes_of_the_defaults(name: str) -> None:
    assert configure(name) == RECIPES[name].apply(Config())
    assert configure(name, dataset="omniglot") == RECIPES[name].apply(Config(dataset="omniglot"))


def test_the_authors_outer_rate_on_mini_imagenet_is_constant_whatever_it_is() -> None:
    config = configure("mamlpp-authors", dataset="mini-imagenet", outer_lr=1e-4)
    assert outer_lr(config, 0) == outer_lr(config, config.epochs - 1) == 1e-4


@pytest.mark.parametrize(
    ("name", "near"),
    [("mamlp", "mamlpp"), ("maml-bn", r"maml\+bn"), ("mamlpp_authors", "mamlpp-authors"), ("ANIL", None), ("", None)],
)
def test_an_unknown_recipe_is_refused_with_the_nearest(name: str, near: str | None) -> None:
    hint = rf" \(did you mean '{near}'\?\)" if near else ""
    sentence = rf"^recipe = '{name}' is unknown{hint}; choose one of maml, fomaml, .*, reptile, protonet$"
    with pytest.raises(InputError, match=sentence):
        configure(name)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"n_ways": 5}, "unknown key 'n_ways' = 5 in the configuration; did you mean 'n_way'"),
        ({"k_shots": 5, "dataset": "omniglot"}, "unknown key 'k_shots' = 5 .*; did you mean 'k_shot'"),
        ({"dataset": "omnigloT"}, r"dataset = 'omnigloT' is not allowed \(did you mean 'omniglot'\?\)"),
        ({"k_shot": 0}, "k_shot = 0 is out of range; 1 or more is allowed"),
        ({"k_shot": "5"}, "k_shot = '5' is of type str; int is allowed"),
        ({"eval_steps": 6}, "eval_steps = 6 is more than the 5 steps of the per-step tables; at most n_steps = 5"),
        ({"data_path": "pictures"}, "data_path = 'pictures' has no meaning for glyphs; leave it empty"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        configure("mamlpp", **values)


def test_more_evaluation_steps_are_allowed_where_there_are_no_per_step_tables() -> None:
    assert configure("maml", eval_steps=6).eval_steps == 6
