"""The configuration: what is allowed, what is refused and in which words, and what is read from TOML."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch

from mamlkit.core.config import FIELD_TYPES, Config, read_toml
from mamlkit.core.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FIELDS = dataclasses.fields(Config)
PER_STEP_TABLES = ("per_step_bn", "per_step_stats", "learn_inner_lrs")


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().n_way = 7  # type: ignore[misc]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_has_a_type_a_group_and_a_sentence_of_help(field: dataclasses.Field[Any]) -> None:
    assert FIELD_TYPES[field.name] in (bool, int, float, str)
    assert type(field.default) is FIELD_TYPES[field.name]
    assert field.metadata["group"] in ("Data", "Network", "Inner loop", "Outer loop", "Run")
    assert field.metadata["help"].endswith(".")


def test_the_defaults_are_plain_second_order_maml() -> None:
    config = Config()
    assert (config.n_steps, config.inner_lr, config.adapt, config.second_order) == (5, 0.1, "all", True)
    assert (config.outer_lr, config.beta2, config.n_tasks) == (1e-3, 0.999, 4)
    fixes = ("per_step_bn", "per_step_stats", "learn_inner_lrs", "cosine_lr", "multi_step_loss")
    assert not any(getattr(config, fix) for fix in fixes)
    assert (config.first_order_share, config.grad_clamp, config.grad_clip, config.patience) == (0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize(
    ("key", "near"),
    [("n_ways", "n_way"), ("inner_lrs", "inner_lr"), ("learn_inner_lr", "learn_inner_lrs"), ("kshot", "k_shot")],
)
def test_an_unknown_key_is_refused_with_the_nearest_right_one(key: str, near: str) -> None:
    with pytest.raises(InputError, match=f"unknown key '{key}' = 3 in the configuration; did you mean '{near}'\\?"):
        Config.from_dict({key: 3})


def test_a_key_that_is_near_to_none_is_refused_with_all_that_are_allowed() -> None:
    names = ", ".join(field.name for field in FIELDS)
    with pytest.raises(InputError, match=f"unknown key 'xyzzy' = 1 in the configuration; allowed are {names}"):
        Config.from_dict({"n_way": 3, "xyzzy": 1})


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("n_way", "5", "n_way = '5' is of type str; int is allowed"),
        ("n_way", 5.0, "n_way = 5.0 is of type float; int is allowed"),
        ("n_way", True, "n_way = True is of type bool; int is allowed"),
        ("inner_lr", "0.1", "inner_lr = '0.1' is of type str; float is allowed"),
        ("inner_lr", True, "inner_lr = True is of type bool; float is allowed"),
        ("max_pool", 1, "max_pool = 1 is of type int; bool is allowed"),
        ("max_pool", "false", "max_pool = 'false' is of type str; bool is allowed"),
        ("dataset", None, "dataset = None is of type NoneType; str is allowed"),
        ("data_path", Path("pictures"), r"data_path = .*Path\('pictures'\) is of type \w+; str is allowed"),
    ],
)
def test_a_value_of_another_type_is_refused(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Config.from_dict({key: value})


def test_a_whole_number_is_a_real_number() -> None:
    whole = Config(inner_lr=1, grad_clip=10)
    assert type(whole.inner_lr) is float
    assert whole.to_dict() == Config(inner_lr=1.0, grad_clip=10.0).to_dict()
    assert repr(whole) == repr(Config(inner_lr=1.0, grad_clip=10.0))


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("n_way", np.int64(7), 7),
        ("n_way", np.uint8(7), 7),
        ("inner_lr", np.float32(0.5), 0.5),
        ("inner_lr", np.float64(0.1), 0.1),
        ("inner_lr", np.int32(2), 2.0),
        ("inner_lr", Fraction(1, 4), 0.25),
        ("max_pool", np.bool_(False), False),
        ("dataset", np.str_("omniglot"), "omniglot"),
    ],
)
def test_a_value_of_another_library_is_kept_as_the_plain_type(key: str, given: Any, kept: Any) -> None:
    config = Config.from_dict({key: given})
    value = getattr(config, key)
    assert (type(value), value) == (type(kept), kept)
    assert config == Config.from_dict({key: kept})
    assert json.loads(json.dumps(config.to_dict()))[key] == kept
    assert tomllib.loads(tomli_w.dumps(config.to_dict()))[key] == kept


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("n_way", np.bool_(True), "n_way = True is of type bool; int is allowed"),
        ("inner_lr", np.bool_(True), "inner_lr = True is of type bool; float is allowed"),
        ("n_way", np.float64(5.0), r"n_way = .*5\.0\)? is of type float64; int is allowed"),
        ("max_pool", np.int64(1), r"max_pool = .*1\)? is of type int64; bool is allowed"),
        ("n_way", np.array(5), r"n_way = array\(5\) is of type ndarray; int is allowed"),
        ("n_way", torch.tensor(5), r"n_way = tensor\(5\) is of type Tensor; int is allowed"),
        ("inner_lr", np.float32("nan"), "inner_lr = nan is out of range"),
        ("inner_lr", np.float64("inf"), "inner_lr = inf is out of range"),
        ("outer_lr", -np.float16("inf"), "outer_lr = -inf is out of range"),
        ("inner_lr", 10**400, "inner_lr = inf is out of range"),
        ("dataset", np.str_("glyph"), r"dataset = 'glyph' is not allowed \(did you mean 'glyphs'\?\)"),
    ],
)
def test_a_value_of_another_library_is_refused_like_a_plain_one(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Config.from_dict({key: value})


NEEDED: dict[str, dict[str, Any]] = {"eval_steps": {"n_steps": 100}, "depth": {"backbone": "deep"}}


@pytest.mark.parametrize("field", [f for f in FIELDS if f.metadata["low"] > float("-inf")], ids=lambda f: f.name)
def test_the_lowest_value_is_allowed_and_the_next_one_is_refused(field: dataclasses.Field[Any]) -> None:
    low, kind = field.metadata["low"], FIELD_TYPES[field.name]
    assert getattr(Config.from_dict({field.name: kind(low), **NEEDED.get(field.name, {})}), field.name) == low
    below = kind(low - (1 if kind is int else 1e-9))
    with pytest.raises(InputError, match=rf"{field.name} = {re.escape(repr(below))} is out of range; {low} (to|or) "):
        Config.from_dict({field.name: below})


@pytest.mark.parametrize("field", [f for f in FIELDS if f.metadata["high"] < float("inf")], ids=lambda f: f.name)
def test_the_highest_value_is_allowed_and_the_next_one_is_refused(field: dataclasses.Field[Any]) -> None:
    high, kind = field.metadata["high"], FIELD_TYPES[field.name]
    assert getattr(Config.from_dict({field.name: kind(high), **NEEDED.get(field.name, {})}), field.name) == high
    above = kind(high + (1 if kind is int else 1e-9))
    with pytest.raises(
        InputError, match=rf"{field.name} = {re.escape(repr(above))} is out of range; .* to {high} is allowed"
    ):
        Config.from_dict({field.name: above})


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("image_size", 16, 224),
        ("n_way", 2, None),
        ("k_shot", 1, None),
        ("filters", 1, 4096),
        ("n_steps", 1, 100),
        ("eval_steps", 0, 100),
        ("beta2", 0.0, 0.999999),
        ("first_order_share", 0.0, 1.0),
        ("msl_share", 0.0, 1.0),
        ("epochs", 1, None),
        ("val_episodes", 2, None),
        ("seed", 0, 2**31 - 1),
        ("tasks_per_chunk", 0, None),
    ],
)
def test_the_ranges_are_what_the_mathematics_needs(key: str, low: float, high: float | None) -> None:
    [metadata] = [field.metadata for field in FIELDS if field.name == key]
    assert (metadata["low"], metadata["high"]) == (low, float("inf") if high is None else high)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["inner_lr", "outer_lr", "grad_clip"])
def test_a_number_that_is_not_finite_is_refused(key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{key} = {value} is out of range"):
        Config.from_dict({key: value})


def test_an_inner_rate_may_be_any_finite_number() -> None:
    assert Config(inner_lr=-0.5).inner_lr == -0.5
    with pytest.raises(InputError, match="inner_lr = nan is out of range; any finite number is allowed"):
        Config(inner_lr=float("nan"))


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "dataset",
            "glyph",
            r"dataset = 'glyph' is not allowed \(did you mean 'glyphs'\?\); choose one of glyphs, omn",
        ),
        ("norm_eval", "batches", r"\(did you mean 'batch'\?\); choose one of batch, running"),
        ("adapt", "x", "adapt = 'x' is not allowed; choose one of all, head, body"),
        ("rotation", "None", r"\(did you mean 'none'\?\); choose one of none, classes, episodes"),
        ("backbone", "conv5", r"\(did you mean 'conv4'\?\)"),
        ("on_nonfinite", "halt", "choose one of stop, skip"),
        ("device", "gpu", "choose one of auto, cpu, cuda, mps"),
        ("dtype", "float16", "choose one of float32, float64"),
    ],
)
def test_a_value_that_is_no_choice_is_refused_with_the_choices(key: str, value: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Config.from_dict({key: value})


@pytest.mark.parametrize("table", PER_STEP_TABLES)
def test_more_steps_at_evaluation_than_the_per_step_tables_hold_are_refused(table: str) -> None:
    with pytest.raises(
        InputError, match="eval_steps = 4 is more than the 3 steps of the per-step tables; at most n_st"
    ):
        Config.from_dict({"n_steps": 3, "eval_steps": 4, table: True})
    assert Config.from_dict({"n_steps": 3, "eval_steps": 3, table: True}).eval_steps == 3


def test_without_per_step_tables_evaluation_may_take_more_steps() -> None:
    assert Config(n_steps=3, eval_steps=10).eval_steps == 10


def test_a_data_path_is_refused_where_it_has_no_meaning() -> None:
    for dataset in ("glyphs", "omniglot"):
        with pytest.raises(InputError, match=f"data_path = 'pictures' has no meaning for {dataset}; leave it empty"):
            Config(dataset=dataset, data_path="pictures")
    for dataset in ("mini-imagenet", "folder", "wall"):
        assert Config(dataset=dataset, data_path="pictures").data_path == "pictures"


@pytest.mark.parametrize(
    ("values", "rights", "sentence"),
    [
        (
            {"cosine_lr": True, "outer_lr": 0.1, "min_outer_lr": 0.2},
            ({"min_outer_lr": 0.1}, {"cosine_lr": False}),
            "min_outer_lr = 0.2 is more than outer_lr = 0.1, so the rate would rise; 0 to 0.1 is allowed",
        ),
        (
            {"multi_step_loss": True, "msl_share": 0},
            ({"msl_share": 0.01}, {"multi_step_loss": False}),
            "msl_share = 0 switches the multi_step_loss off",
        ),
        (
            {"second_order": False, "first_order_share": 0.5},
            ({"first_order_share": 0}, {"second_order": True}),
            "first_order_share = 0.5 has no meaning where second_order is off; 0 is allowed",
        ),
        (
            {"engine": "eager", "tasks_per_chunk": 2},
            ({"tasks_per_chunk": 1}, {"tasks_per_chunk": 0}, {"engine": "vmap"}),
            "tasks_per_chunk = 2 has no meaning where engine = 'eager', .*; 0 or 1 is allowed",
        ),
        (
            {"autocast": True, "dtype": "float64"},
            ({"autocast": False}, {"dtype": "float32"}),
            "autocast has no meaning where dtype = 'float64'; 'float32' is allowed",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    values: dict[str, Any], rights: tuple[dict[str, Any], ...], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        Config.from_dict(values)
    for right in rights:
        assert Config.from_dict(values | right) == dataclasses.replace(Config(), **(values | right))


def test_values_are_set_upon_a_base() -> None:
    base = Config(n_way=7, k_shot=2)
    assert Config.from_dict({"k_shot": 3}, base) == dataclasses.replace(base, k_shot=3)
    assert Config.from_dict({}) == Config()
    with pytest.raises(InputError, match="eval_steps = 6 is more than the 5 steps"):
        Config.from_dict({"eval_steps": 6}, Config(per_step_bn=True))


def test_a_difference_names_the_changed_fields_and_leads_back() -> None:
    base = Config(n_way=7)
    changed = dataclasses.replace(base, cosine_lr=True, inner_lr=0.4)
    assert changed.difference(base) == {"inner_lr": 0.4, "cosine_lr": True}
    assert base.difference(changed) == {"inner_lr": 0.1, "cosine_lr": False}
    assert base.difference(base) == {}
    assert Config.from_dict(changed.difference(base), base) == changed


def test_a_dictionary_holds_every_field_in_order_and_leads_back() -> None:
    config = Config(n_way=7, dataset="folder", data_path="pictures", inner_lr=1)
    assert list(config.to_dict()) == [field.name for field in FIELDS]
    assert Config.from_dict(config.to_dict()) == config


def test_toml_becomes_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('dataset = "omniglot"\nn_way = 20\nouter_lr = 1\ncosine_lr = true  # é\n', encoding="utf-8")
    values = read_toml(path)
    assert values == {"dataset": "omniglot", "n_way": 20, "outer_lr": 1, "cosine_lr": True}
    assert Config.from_dict(values) == Config(dataset="omniglot", n_way=20, outer_lr=1.0, cosine_lr=True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"n_way = ", "run.toml is not valid TOML: "),
        (b"n_way = 5\nn_way = 6\n", "run.toml is not valid TOML: "),
        (b'dataset = "\xff"\n', "run.toml is not valid TOML: .*utf-8"),
        (b"[data]\nn_way = 5\n", "unknown key 'data' = {'n_way': 5} in the configuration"),
        (b"n_way = 1979-05-27\n", r"n_way = datetime.date\(1979, 5, 27\) is of type date; int is allowed"),
        (b"inner_lr = nan\n", "inner_lr = nan is out of range"),
    ],
)
def test_a_bad_toml_file_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        Config.from_dict(read_toml(tmp_path / "run.toml"))


def test_a_toml_file_that_cannot_be_opened_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the configuration .*absent\.toml: No such file"):
        read_toml(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="cannot read the configuration "):
        read_toml(tmp_path)
