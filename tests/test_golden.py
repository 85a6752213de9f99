"""The golden numbers of the authors' code: every packaged case holds, a change is noticed, a bad file is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mamlkit.core.errors import InputError
from mamlkit.study.golden import CASES, QUANTITIES, TOLERANCE, compare_case, find_cases, read_case

NAMES = [path.name for path in find_cases(CASES)]
# No other test needs the compiled code of these; uncompiled, its source is tested for each kind of network.
COMPILED_ALONE = ("maml_plain_rgb_42px.npz", "mamlpp_one_shot_five_way.npz", "mamlpp_strided.npz")
CASE = CASES / "mamlpp_second_order_msl_epoch7.npz"
EVERYWHERE = {"loss", "query_logits_last_step", "grad", "after_adam"}
MAMLPP = {"grad_inner_lr", "after_adam_inner_lr", "running_after"}

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Path]:
    """A function that writes a case whose arrays have gone through another function."""

    def write(change: Change) -> Path:
        with np.load(CASE) as archive:
            arrays = dict(archive)
        change(arrays)
        np.savez(tmp_path / "changed.npz", **arrays)
        return tmp_path / "changed.npz"

    return write


def configure(arrays: dict[str, Any], **settings: Any) -> None:
    merged = json.loads(str(arrays["config"])) | settings
    arrays["config"] = np.array(json.dumps({key: value for key, value in merged.items() if value is not None}))


def test_the_packaged_cases_cover_plain_maml_and_every_fix() -> None:
    settings = [read_case(CASES / name)[0] for name in NAMES]
    assert len(NAMES) >= 9
    for key in ("per_step_bn", "lslr", "msl", "max_pool"):
        assert {case[key] for case in settings} == {True, False}
    assert {case["epoch"] > case.get("first_order_to_second_order_epoch", -1) for case in settings} == {True, False}
    assert {case["channels"] for case in settings} == {1, 3}


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        pytest.param(engine, name, marks=pytest.mark.long if engine == "compiled" and name in COMPILED_ALONE else ())
        for engine in ("eager", "vmap", "compiled")
        for name in NAMES
    ],
)
def test_a_packaged_case_agrees_in_every_quantity_on_every_engine(
    name: str, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "compiled":
        request.getfixturevalue("compiled_cache")
    differences = compare_case(CASES / name, engine)
    assert differences.keys() == (EVERYWHERE | MAMLPP if name.startswith("mamlpp") else EVERYWHERE)
    assert list(differences) == [quantity for quantity in QUANTITIES if quantity in differences]
    assert max(differences.values()) < 1e-10
    assert TOLERANCE == 1e-10


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("loss", "loss"),
        ("query_logits_last_step", "query_logits_last_step"),
        ("grad/conv2.weight", "grad"),
        ("grad/conv2.bias", "grad"),
        ("grad/norm3.gamma", "grad"),
        ("grad_inner_lr/head.bias", "grad_inner_lr"),
        ("after_adam/norm0.beta", "after_adam"),
        ("after_adam_inner_lr/conv0.weight", "after_adam_inner_lr"),
        ("running_after/norm1.mean", "running_after"),
        ("running_after/norm2.var", "running_after"),
    ],
)
def test_a_changed_number_is_noticed(changed: Callable[[Change], Path], name: str, quantity: str) -> None:
    def shift(arrays: dict[str, Any]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name].flat[-1] += 1e-7

    differences = compare_case(changed(shift))
    assert differences[quantity] == pytest.approx(1e-7, rel=1e-3)


@pytest.mark.parametrize(("name", "quantity"), [("loss", "loss"), ("after_adam/head.bias", "after_adam")])
def test_what_is_not_a_number_is_noticed(changed: Callable[[Change], Path], name: str, quantity: str) -> None:
    differences = compare_case(changed(lambda arrays: arrays.update({name: arrays[name] * np.nan})))
    assert np.isnan(differences[quantity])


@pytest.mark.parametrize("name", ["init/conv0.weight", "init/norm3.beta", "init_inner_lr/head.weight", "query_x"])
def test_a_changed_start_is_noticed_in_what_follows(changed: Callable[[Change], Path], name: str) -> None:
    differences = compare_case(changed(lambda arrays: arrays[name].__iadd__(1e-3)))
    assert differences["loss"] > 1e-8
    assert differences["grad"] > 1e-8


@pytest.mark.parametrize(
    "settings",
    [{"first_order_to_second_order_epoch": 7}, {"max_pool": True, "lslr": False}, {"msl": False}],
    ids=["first order", "rates not learned", "last step alone"],
)
def test_a_changed_setting_is_noticed(changed: Callable[[Change], Path], settings: dict[str, Any]) -> None:
    differences = compare_case(changed(lambda arrays: configure(arrays, **settings)))
    assert max(differences.values()) > 1e-6


def test_multi_step_weights_of_another_epoch_are_refused(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda arrays: configure(arrays, epoch=6))
    with pytest.raises(InputError, match=r"msl_weights = \(.*\) differ from those of the epoch, \("):
        compare_case(path)


def test_a_case_without_weights_takes_those_of_the_epoch_in_single_precision(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda arrays: arrays.pop("msl_weights"))
    assert max(compare_case(path).values()) < TOLERANCE


def test_the_step_is_taken_by_our_own_gradient(changed: Callable[[Change], Path]) -> None:
    differences = compare_case(changed(lambda arrays: arrays["grad/conv2.weight"].__imul__(-1)))
    assert differences["grad"] > 1e-3
    assert differences["after_adam"] < TOLERANCE


def test_rounding_noise_in_a_gradient_of_zero_is_not_magnified_by_adam(changed: Callable[[Change], Path]) -> None:
    def shake(arrays: dict[str, Any]) -> None:
        noise = arrays["grad/conv2.bias"] + 1e-12
        arrays["grad/conv2.bias"] = noise
        arrays["after_adam/conv2.bias"] = arrays["init/conv2.bias"] - 1e-3 * noise / (abs(noise) + 1e-8)

    differences = compare_case(changed(shake))
    assert differences["grad"] == pytest.approx(1e-12, rel=1e-3)
    assert differences["after_adam"] < TOLERANCE


def test_a_case_without_the_order_switch_is_second_order(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda arrays: configure(arrays, first_order_to_second_order_epoch=None))
    assert max(compare_case(path).values()) < TOLERANCE


@pytest.mark.parametrize("content", ["empty", "text", "first half", "without its end", "damaged", "one bare array"])
def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path: Path, content: str) -> None:
    whole = CASE.read_bytes()
    middle = len(whole) // 2
    path = tmp_path / "bad.npz"
    if content == "one bare array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        damaged = whole[:middle] + bytes(b ^ 255 for b in whole[middle : middle + 2000]) + whole[middle + 2000 :]
        kinds = {"empty": b"", "text": b"no archive", "first half": whole[:middle], "without its end": whole[:-30]}
        path.write_bytes({**kinds, "damaged": damaged}[content])
    with pytest.raises(InputError, match=r"bad\.npz is not a golden case"):
        compare_case(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.npz is not a golden case: .*No such file"):
        compare_case(tmp_path / "absent.npz")


def test_an_array_that_hides_code_is_refused_by_name(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda arrays: arrays.update(extra=np.array([{}], dtype=object)))
    with pytest.raises(InputError, match=r"changed\.npz is not a golden case: .*pickle"):
        compare_case(path)


@pytest.mark.parametrize("name", ["config", "support_x", "query_y", "loss", "query_logits_last_step"])
def test_a_missing_array_is_refused_by_name(changed: Callable[[Change], Path], name: str) -> None:
    path = changed(lambda arrays: arrays.pop(name))
    with pytest.raises(InputError, match=rf"changed\.npz is not a golden case: it lacks {name}$"):
        compare_case(path)


@pytest.mark.parametrize("value", [None, "3"], ids=["missing", "text"])
@pytest.mark.parametrize("key", ["n_way", "K", "max_pool"])
def test_a_setting_that_is_missing_or_no_number_is_refused_by_name(
    changed: Callable[[Change], Path], key: str, value: str | None
) -> None:
    path = changed(lambda arrays: configure(arrays, **{key: value}))
    with pytest.raises(InputError, match=rf"changed\.npz is not a golden case: it lacks {key}$"):
        compare_case(path)


def test_settings_that_are_not_json_are_refused_by_name(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda arrays: arrays.update(config=np.array("K = 3")))
    with pytest.raises(InputError, match=r"changed\.npz is not a golden case: Expecting value"):
        compare_case(path)


@pytest.mark.parametrize("name", ["query_logits_last_step", "after_adam/head.bias", "running_after/norm0.mean"])
def test_a_result_of_another_shape_is_refused_by_name(changed: Callable[[Change], Path], name: str) -> None:
    path = changed(lambda arrays: arrays.update({name: arrays[name][..., :-1]}))
    with pytest.raises(
        InputError, match=rf"changed\.npz: {name} has shape \(.*\); \(.*\) is the shape that its configuration g"
    ):
        compare_case(path)


@pytest.mark.parametrize(
    "name",
    ["init/conv0.weight", "init/norm2.gamma", "init_inner_lr/head.bias", "support_x", "support_y", "grad/head.bias"],
)
def test_a_start_of_another_shape_is_refused_by_name(changed: Callable[[Change], Path], name: str) -> None:
    path = changed(lambda arrays: arrays.update({name: arrays[name][..., None]}))
    with pytest.raises(InputError, match=rf"changed\.npz: {name} (has shape|is float64 \()"):
        compare_case(path)


@pytest.mark.parametrize("name", ["support_x", "query_x"])
def test_images_of_single_precision_are_refused_by_name(changed: Callable[[Change], Path], name: str) -> None:
    path = changed(lambda arrays: arrays.update({name: arrays[name].astype(np.float32)}))
    with pytest.raises(InputError, match=rf"changed\.npz: {name} .*float32"):
        compare_case(path)


@pytest.mark.parametrize(("change", "labels"), [(-1, "labels -1 to 1"), (1, "labels 1 to 3"), (0.0, "float64 labels")])
def test_labels_that_are_no_classes_are_refused_by_name(
    changed: Callable[[Change], Path], change: float, labels: str
) -> None:
    path = changed(lambda arrays: arrays.update(query_y=arrays["query_y"] + change))
    with pytest.raises(InputError, match=rf"changed\.npz: query_y has .*{labels}.*; n_way = 3"):
        compare_case(path)


def test_a_result_that_the_network_does_not_give_is_refused_by_name(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda arrays: arrays.update({"grad/conv4.weight": np.zeros(3)}))
    with pytest.raises(InputError, match=r"changed\.npz: grad/conv4\.weight is unknown"):
        compare_case(path)


@pytest.mark.parametrize("name", ["init/conv1.weight", "init_inner_lr/head.weight"])
def test_a_start_that_lacks_a_tensor_is_refused_by_name(changed: Callable[[Change], Path], name: str) -> None:
    path = changed(lambda arrays: arrays.pop(name))
    with pytest.raises(InputError, match=rf"changed\.npz: {name} is missing"):
        compare_case(path)


def test_cases_are_found_in_order_and_an_empty_or_absent_folder_is_refused_by_name(tmp_path: Path) -> None:
    assert sorted(NAMES) == NAMES
    with pytest.raises(InputError, match=r"absent is not a folder; give one that holds \.npz files"):
        find_cases(tmp_path / "absent")
    with pytest.raises(InputError, match=r"README\.md is not a folder"):
        find_cases(CASES / "README.md")
    with pytest.raises(InputError, match=rf"{tmp_path.name} holds no \.npz file; at least one is needed"):
        find_cases(tmp_path)
