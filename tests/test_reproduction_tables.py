"""Which runs make a table: nothing but what its name says differs between two lines."""

from __future__ import annotations

import re

import pytest

from mamlkit.core.recipes import RECIPES, configure
from mamlkit.study.reproduction.plan import make_plan
from mamlkit.study.reproduction.tables import SCALES, TABLES, Setting, budget

SEED_0 = (0,)


def settings(table: str, n_tasks: int = 4) -> list[Setting]:
    return TABLES[table].settings(n_tasks)


@pytest.mark.parametrize("table", TABLES)
def test_the_names_of_a_table_are_unique_and_fit_for_folders(table: str) -> None:
    names = [setting.name for setting in settings(table)]
    assert len(set(names)) == len(names) > 1
    assert all(re.fullmatch(r"[\w+.-]+", name) for name in names)
    assert all(setting.recipe in RECIPES for setting in settings(table))


def test_the_ablation_is_maml_each_fix_alone_and_all_of_them_20_way_1_shot() -> None:
    lines = settings("omniglot-ablation")
    singles = [name for name in RECIPES if name.startswith("maml+") and name != "maml+wd"]  # which is of no paper
    assert [line.recipe for line in lines] == ["maml", *singles, "mamlpp"]
    assert {(line.n_way, line.k_shot) for line in lines} == {(20, 1)}


def test_mini_imagenet_goes_from_one_to_five_inner_steps() -> None:
    plan = make_plan("mini-imagenet", "smoke", "glyphs", SEED_0, {})
    steps = [s["config"]["n_steps"] for s in plan.settings if s["recipe"] == "mamlpp" and s["config"]["k_shot"] == 1]
    assert steps == [1, 2, 3, 4, 5]


def test_a_knob_of_text_against_code_turns_one_thing_at_a_time() -> None:
    plan = make_plan("paper-vs-code", "paper", "glyphs", SEED_0, {})
    base, *knobs, last = (setting["config"] for setting in plan.settings)
    changed = [{key: value for key, value in knob.items() if value != base[key]} for knob in knobs]
    assert changed == [
        {"norm_eval": "running"},
        {"first_order_share": 0.0},
        {"first_order_share": 80 / 150},
        {"beta2": 0.999},
        {"cosine_lr": False},
        {"n_tasks": 8},
        {"rotation": "episodes"},
        {"inner_lr": 0.01},
        {"msl_share": 0.15},
        {"ensemble": 1},
        {"ensemble": 5},
    ]
    authors = configure("mamlpp-authors")
    assert all(last[key] == getattr(authors, key) for key in ("beta2", "first_order_share", "ensemble", "n_tasks"))


def test_stability_is_strided_and_has_ten_seeds() -> None:
    plan = make_plan("stability", "smoke", "glyphs", (), {})
    assert [setting["config"]["max_pool"] for setting in plan.settings] == [False, False]
    assert plan.seeds == tuple(range(10))
    assert len(plan.cells) == 20


def test_the_scale_of_the_paper_has_its_budget() -> None:
    config = make_plan("omniglot-ablation", "paper", "glyphs", SEED_0, {}).settings[0]["config"]
    found = [config[key] for key in ("epochs", "iterations_per_epoch", "val_episodes", "test_episodes", "n_tasks")]
    assert found == [150, 500, 600, 600, 16]
    assert (config["filters"], config["outer_lr"]) == (64, 0.001)


def test_on_mini_imagenet_the_paper_s_scale_leaves_tasks_and_query_images_to_the_recipe() -> None:
    assert {"n_tasks", "q_query", "eval_query"} & budget("paper", "mini-imagenet").keys() == set()
    assert budget("paper", "omniglot")["n_tasks"] == 16


def test_scales_differ_in_size_and_outer_rate_alone() -> None:
    sizes = {"epochs", "iterations_per_epoch", "val_episodes", "test_episodes", "n_tasks", "filters"}
    assert set().union(*SCALES.values()) == sizes | {"engine", "outer_lr"}
