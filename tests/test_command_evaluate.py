"""``mamlkit evaluate``: the run's own numbers again, other episodes on request, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mamlkit.__main__ import main
from mamlkit.datasets import load
from mamlkit.datasets.drawings import Sheet

SMALL = [
    "--n-way", "2", "--filters", "3", "--n-steps", "2", "--n-tasks", "1", "--q-query", "1", "--eval-query", "2",
    "--epochs", "3", "--iterations-per-epoch", "1", "--val-episodes", "4", "--test-episodes", "12", "--ensemble", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for recipe in ("maml", "mamlpp"):
        result = CliRunner().invoke(main, ["train", *SMALL, "--recipe", recipe, "--out", str(folder / recipe)])
        assert result.exit_code == 0, result.output
    return {recipe: folder / recipe for recipe in ("maml", "mamlpp")}


def evaluate(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def as_json(*arguments: object) -> dict[str, Any]:
    return json.loads(evaluate(*arguments, "--json").stdout)


def test_it_gives_the_numbers_of_the_run_again(runs: dict[str, Path]) -> None:
    kept = json.loads((runs["mamlpp"] / "result.json").read_text("utf-8"))
    found = as_json(runs["mamlpp"])
    assert found["evaluations"] == kept["evaluations"]
    assert (found["accuracy"], found["ci95"], found["episodes"]) == (kept["accuracy"], kept["ci95"], 12)
    assert found["tested_epochs"] == kept["tested_epochs"]
    assert found["config"] == kept["config"]
    assert found["data_sha256"] == kept["data_sha256"]


def test_the_table_has_both_figures_with_their_intervals(runs: dict[str, Path]) -> None:
    text = evaluate(runs["mamlpp"]).stdout
    for evaluation in as_json(runs["mamlpp"])["evaluations"].values():
        assert f"{100 * evaluation['accuracy']:.2f} ± {100 * evaluation['ci95']:.2f}" in text


def test_other_episodes_are_asked_for_by_option(runs: dict[str, Path]) -> None:
    found = as_json(runs["mamlpp"], "--split", "val", "--episodes", 6, "--seed", 5, "--eval-query", 1, "--ensemble", 1)
    assert (found["split"], found["episodes"]) == ("val", 6)
    assert (found["config"]["seed"], found["config"]["eval_query"]) == (5, 1)
    assert len(found["tested_epochs"]) == 1
    assert found["loss"] != as_json(runs["mamlpp"])["loss"]


@pytest.fixture
def sheets(tmp_path: Path) -> Path:
    folder = tmp_path / "sheets"
    folder.mkdir()
    for number in range(3):
        classes = {name: (((10, 10), (20 + 10 * number + 9 * i, 90)),) for i, name in enumerate("abc")}
        (folder / f"{number}.json").write_text(Sheet(classes).to_json(), "utf-8")
    return folder


def test_a_run_is_tested_on_another_data_set(runs: dict[str, Path], sheets: Path) -> None:
    other = ["--dataset", "wall", "--data-path", sheets]
    found = as_json(runs["mamlpp"], *other)
    assert (found["episodes"], found["config"]["dataset"], found["config"]["n_way"]) == (12, "wall", 2)
    assert found["data_sha256"] == load("wall", path=str(sheets)).sha256 != as_json(runs["mamlpp"])["data_sha256"]
    assert found["loss"] != as_json(runs["mamlpp"])["loss"]
    text = evaluate(runs["mamlpp"], *other).stdout
    assert "mamlpp on wall, 2-way 1-shot" in text
    assert f"{100 * found['accuracy']:.2f} ± {100 * found['ci95']:.2f}" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dataset", "wall"], "the data set wall needs a path"),
        (["--data-path", "{}"], "data_path = '{}' has no meaning for glyphs; leave it empty"),
        (["--dataset", "wall", "--data-path", "{}", "--split", "val"], "the 0 classes in the val split of wall"),
        (["--dataset", "wall", "--data-path", "{}", "--eval-query", "3"], "1 + 3 is more than the 3 images of class"),
        (["--dataset", "wal"], "dataset = 'wal' is not allowed (did you mean 'wall'?); choose one of glyphs"),
    ],
)
def test_another_data_set_that_does_not_fit_is_refused_in_one_sentence(
    runs: dict[str, Path], sheets: Path, options: list[str], sentence: str
) -> None:
    result = evaluate(runs["mamlpp"], *(option.format(sheets) for option in options), code=2)
    assert sentence.format(sheets) in " ".join(result.stderr.split())


def test_pictures_of_another_kind_are_refused(picture_folder: Callable[..., Path], tmp_path: Path) -> None:
    pictures = picture_folder(dict.fromkeys("abcdefghijk", 3), mode="RGB")
    own = ["--dataset", "folder", "--data-path", str(pictures), "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(main, ["train", *SMALL, *own]).exit_code == 0
    message = evaluate(tmp_path / "run", "--dataset", "glyphs", code=2).stderr
    assert "convs.0.weight has shape [3, 3, 3, 3]; this network needs [3, 1, 3, 3]" in " ".join(message.split())


def test_shared_rates_allow_more_steps_and_tables_for_each_step_do_not(runs: dict[str, Path]) -> None:
    more = as_json(runs["maml"], "--eval-steps", 4)
    assert more["loss"] != as_json(runs["maml"])["loss"]
    assert as_json(runs["mamlpp"], "--eval-steps", 1)["loss"] != as_json(runs["mamlpp"])["loss"]
    sentence = evaluate(runs["mamlpp"], "--eval-steps", 3, code=2).stderr
    assert "eval_steps = 3 is more than the 2 steps of the per-step tables" in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ensemble", 3], "--ensemble 3 is too large; "),
        (["--ensemble", 0], "ensemble = 0 is out of range; 1 or more is allowed"),
        (["--episodes", 1], "test_episodes = 1 is out of range; 2 or more is allowed"),
        (["--split", "tset"], "'tset' is not one of"),
        (["--eval-query", 30], "k_shot + q_query = 1 + 30 is more than the 20 images"),
    ],
)
def test_bad_options_end_in_one_sentence(runs: dict[str, Path], arguments: list[object], sentence: str) -> None:
    result = evaluate(runs["mamlpp"], *arguments, code=2)
    assert sentence in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_run_without_a_whole_epoch_is_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("run.json", "config.toml"):
        (tmp_path / name).write_bytes((runs["maml"] / name).read_bytes())
    assert "has no complete epoch yet; continue it with mamlkit train --resume" in evaluate(tmp_path, code=2).stderr


def test_a_damaged_checkpoint_is_named(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for path in runs["maml"].rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(runs["maml"])
            content = path.read_bytes()
            target.write_bytes(content[: len(content) // 2] if path.suffix == ".safetensors" else content)
    message = evaluate(tmp_path, code=2).stderr
    assert "is not a complete checkpoint" in message
    assert "epoch-000" in message


def test_a_run_killed_before_its_last_checkpoint_is_tested_on_what_it_has(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs["maml"], tmp_path / "run")
    best, second = as_json(tmp_path / "run")["tested_epochs"]
    (tmp_path / "run" / "checkpoints" / f"epoch-{max(best, second):04}.safetensors").unlink()
    assert max(best, second) not in as_json(tmp_path / "run", "--ensemble", 1)["tested_epochs"]
