"""A grid's cells, and its folder that nobody mixes up with another."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.core.recipes import configure
from mamlkit.study.reproduction.plan import Plan, check_parameters, make_plan, merge, read_plan

KNOWN = {
    "seed": 0, "fast": True, "dataset": "glyphs", "recipe": "mamlpp", "n_way": 5, "k_shot": 1, "epochs": 0,
    "iterations_per_epoch": 0, "val_episodes": 0, "test_episodes": 0, "overrides": {}, "out": "",
}  # fmt: skip


@pytest.fixture
def plan() -> Plan:
    return make_plan("stability", "smoke", "glyphs", (0, 1), {})


def test_every_setting_is_run_with_every_seed(plan: Plan) -> None:
    names = [cell.name for cell in plan.cells]
    assert names == ["maml-strided-seed0", "mamlpp-strided-seed0", "maml-strided-seed1", "mamlpp-strided-seed1"]
    assert [cell.config["seed"] for cell in plan.cells] == [0, 0, 1, 1]


@pytest.mark.parametrize("table", ["omniglot-ablation", "paper-vs-code", "mini-imagenet", "stability"])
def test_the_parameters_of_a_cell_make_its_configuration_in_the_notebook(table: str) -> None:
    for cell in make_plan(table, "laptop", "glyphs", (3,), {}).cells:
        given = dict(cell.parameters)
        assert given.keys() | {"out"} == KNOWN.keys()
        assert given.pop("fast") is False
        recipe, overrides = given.pop("recipe"), given.pop("overrides")
        assert configure(recipe, **given, **overrides) == Config(**cell.config)


def test_parameters_go_before_the_table_and_the_scale() -> None:
    given = {"epochs": 7, "n_way": 5, "overrides": {"filters": 16}}
    for setting in make_plan("omniglot-ablation", "smoke", "glyphs", (0,), given).settings:
        assert [setting["config"][key] for key in ("epochs", "n_way", "filters")] == [7, 5, 16]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epoch": 3}, r"^notebook 09 has no parameter 'epoch' \(= 3\); did you mean 'epochs'\?$"),
        ({"zzz": 3}, r"^notebook 09 has no parameter 'zzz' \(= 3\); it has n_way, k_shot, epochs, .*overrides$"),
        ({"seed": 3}, r"^parameter 'seed' = 3 is set by the table itself; free: n_way, .*overrides$"),
        ({"overrides": 3}, r"^parameter overrides = 3 is not a table of options; write it as \{filters: 16\}$"),
        ({"overrides": {1: 2}}, r"^parameter overrides = \{1: 2\} is not a table of options; "),
        (
            {"overrides": {"dataset": "glyphs"}},
            r"^parameter 'dataset' = 'glyphs' is set by the table itself; free: ",
        ),
    ],
)
def test_a_parameter_that_the_notebook_lacks_or_the_table_sets_is_refused(
    given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        check_parameters(given, KNOWN)
    check_parameters({"epochs": 3, "overrides": {"filters": 8}}, KNOWN)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            ("omniglot-ablatio", "smoke", "glyphs", {}),
            "table = 'omniglot-ablatio' is unknown (did you mean 'omniglot-ablation'?)",
        ),
        (("stability", "huge", "glyphs", {}), "scale = 'huge' is unknown; choose one of smoke, laptop, paper"),
        (("stability", "smoke", "glyph", {}), "dataset = 'glyph' is not allowed"),
        (("stability", "smoke", "glyphs", {"epochs": 0}), "epochs = 0 is out of range"),
        (("stability", "smoke", "glyphs", {"overrides": {"filter": 1}}), "did you mean 'filters'"),
        (("stability", "smoke", "glyphs", {"n_way": 2000}), "2000"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    asked: tuple[str, str, str, dict[str, object]], sentence: str
) -> None:
    table, scale, dataset, given = asked
    with pytest.raises(InputError, match=re.escape(sentence)):
        make_plan(table, scale, dataset, (0,), given)


@pytest.mark.parametrize(
    ("table", "given", "sentence"),
    [
        ("stability", {"overrides": {"max_pool": True}}, "'max_pool' = True is set by the lines of stability"),
        ("omniglot", {"n_way": 5}, "'n_way' = 5 is set by the lines of omniglot; they set"),
        ("paper-vs-code", {"overrides": {"n_tasks": 8}}, "'n_tasks' = 8 is set by the lines of paper-vs-code"),
        ("omniglot-ablation", {"overrides": {"multi_step_loss": True}}, "'multi_step_loss' = True is set by the lines"),
    ],
)
def test_what_tells_the_lines_of_a_table_apart_cannot_be_set(
    table: str, given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=f"^parameter {re.escape(sentence)}"):
        make_plan(table, "smoke", "glyphs", (0,), given)


def test_a_plan_that_was_kept_comes_back(plan: Plan, tmp_path: Path) -> None:
    assert read_plan(tmp_path) is None
    plan.save(tmp_path)
    assert read_plan(tmp_path) == plan


def test_seeds_are_added_to_a_folder_and_the_engine_that_it_has_stays(plan: Plan, tmp_path: Path) -> None:
    more = make_plan("stability", "smoke", "glyphs", (5, 1), {"overrides": {}})
    asked = dataclasses.replace(more, parameters={})
    asked.settings[0]["config"]["engine"] = "eager"
    merged = merge(plan, asked, tmp_path)
    assert merged.seeds == (0, 1, 5)
    assert merged.settings == plan.settings
    assert merged.settings[0]["config"]["engine"] == "vmap"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (("omniglot-ablation", "smoke", {}), "holds results with table = 'stability', not 'omniglot-ablation'"),
        (("stability", "laptop", {}), "holds results with scale = 'smoke', not 'laptop'"),
        (("stability", "smoke", {"epochs": 2}), "holds results with parameters = {}, not {'epochs': 2}"),
    ],
)
def test_a_folder_with_other_results_is_refused(
    plan: Plan, asked: tuple[str, str, dict[str, object]], sentence: str, tmp_path: Path
) -> None:
    table, scale, given = asked
    with pytest.raises(InputError, match=rf"^{tmp_path} {re.escape(sentence)}; choose another folder$"):
        merge(plan, make_plan(table, scale, "glyphs", (0,), given), tmp_path)


def test_a_folder_with_results_of_a_recipe_that_has_changed_since_is_refused(plan: Plan, tmp_path: Path) -> None:
    changed = make_plan("stability", "smoke", "glyphs", (0, 1), {})
    changed.settings[1]["config"]["beta2"] = 0.5
    with pytest.raises(InputError, match=r"beta2 of mamlpp-strided is 0\.99, not 0\.5; choose another folder$"):
        merge(plan, changed, tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1}', '{"format": 2}'])
def test_a_damaged_plan_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text, "utf-8")
    with pytest.raises(
        InputError, match=r"plan\.json (is damaged \(.*\)|belongs to another version of mamlkit); .*folder$"
    ):
        read_plan(tmp_path)


def test_a_plan_tells_every_field_of_every_setting(plan: Plan, tmp_path: Path) -> None:
    plan.save(tmp_path)
    kept = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert all(setting["config"].keys() == Config().to_dict().keys() for setting in kept["settings"])
