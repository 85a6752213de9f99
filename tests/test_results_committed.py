"""The committed results: complete, as good as they were promised to be, and the same in the README."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scripts import load_script

from mamlkit.__main__ import main
from mamlkit.core.config import Config
from mamlkit.runs.command_line import command_line
from mamlkit.show.numbers import percent
from mamlkit.study import stored

DRAWING_TASKS = ("omniglot 5-way", "omniglot 20-way", "glyphs 5-way", "glyphs 20-way")
ROOT = Path(__file__).parents[1]
KEYS = {
    "dataset", "recipe", "n_way", "k_shot", "accuracy", "ci95", "episodes", "seeds", "iterations", "minutes", "config",
    "versions", "data_sha256", "command", "curves", "evaluations",
}  # fmt: skip


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(ROOT / "data" / "show_results.py")


@pytest.fixture(scope="module")
def results(script: ModuleType) -> dict[str, dict[str, Any]]:
    return script.read_results()


def test_mamlpp_on_omniglot_is_over_97_percent_within_an_hour(results: dict[str, dict[str, Any]]) -> None:
    result = results["omniglot-5way-1shot-mamlpp.json"]
    assert result["accuracy"] >= 0.97
    assert result["ci95"] < 0.005
    assert result["minutes"] <= 60
    assert result["command"] == "mamlkit train --dataset omniglot --recipe mamlpp"


def test_maml_had_the_same_iterations_seed_and_episodes(results: dict[str, dict[str, Any]]) -> None:
    plain, plus = (results[f"omniglot-5way-1shot-{name}.json"] for name in ("maml", "mamlpp"))
    for key in ("dataset", "n_way", "k_shot", "episodes", "seeds", "iterations", "data_sha256", "versions"):
        assert plain[key] == plus[key], key
    assert plain["recipe"] == "maml"


def test_every_result_is_complete_and_its_command_gives_its_configuration(results: dict[str, dict[str, Any]]) -> None:
    assert results
    for name, result in results.items():
        assert result.keys() >= KEYS, name
        config = Config.from_dict(result["config"])
        what = dataclasses.replace(config, tasks_per_chunk=0)  # which says how it was computed, not what
        assert result["command"] == command_line(result["recipe"], what), name
        assert result["iterations"] == result["curves"]["iteration"][-1] == config.epochs * config.iterations_per_epoch
        assert result["accuracy"] == result["evaluations"][config.norm_eval]["accuracy"]
        assert re.fullmatch("[0-9a-f]{64}", result["data_sha256"])
        assert {len(curve) for curve in result["curves"].values()} == {config.epochs}


def test_the_commands_are_understood(results: dict[str, dict[str, Any]]) -> None:
    for result in results.values():
        arguments = shlex.split(result["command"])[1:]
        assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0


def test_the_readme_has_the_table_of_the_results(script: ModuleType, results: dict[str, dict[str, Any]]) -> None:
    [section] = script.SECTION.findall((ROOT / "README.md").read_text("utf-8"))
    assert section == script.table(results)


def test_the_picture_is_of_these_results(script: ModuleType, results: dict[str, dict[str, Any]]) -> None:
    names = [name for name in results if name.startswith("omniglot-5way-1shot")]
    [axes] = script.draw([results[name] for name in names]).axes
    assert len(axes.get_lines()) == len(names)
    for line, name in zip(axes.get_lines(), names):
        assert np.allclose(line.get_ydata(), 100 * np.array(results[name]["curves"]["val_accuracy"]))
    picture = Image.open(ROOT / "data" / "results" / "omniglot-5way-1shot.png")
    assert np.asarray(picture.convert("L")).std() > 5


def test_the_datasheet_has_the_accuracy_of_every_stored_start() -> None:
    sheet = (ROOT / "data" / "README.md").read_text("utf-8").splitlines()
    for name in stored.start_names():
        with np.load(stored.STARTS / f"{name}.npz", allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
        row = next(line for line in sheet if line.startswith(f"| `{name}` |"))
        if name.startswith("drawings-"):
            cells = [percent(*header["test"][task]["batch"]) for task in DRAWING_TASKS]
            assert row.endswith(f"| {' | '.join(cells)} |")
            recorded = next(line for line in sheet if line.startswith(f"| `{name}`, recorded statistics |"))
            cells = [percent(*header["test"][task]["running"]) for task in DRAWING_TASKS]
            assert recorded.endswith(f"| {' | '.join(cells)} |")
            if name == "drawings-mamlpp":
                told = percent(*header["test"]["omniglot 5-way"]["batch"])
                assert f"is right in {told} % (600 episodes" in (ROOT / "README.md").read_text("utf-8")
        else:
            accuracy = percent(header["test_accuracy"], header["test_ci95"])
            assert row.endswith(f"| {accuracy} | {header['test_episodes']} |")


def test_the_episodes_of_the_drawing_starts_are_as_many_as_the_datasheet_says() -> None:
    assert "600 episodes (5-way) or 200 (20-way)" in (ROOT / "data" / "README.md").read_text("utf-8")
    for name in (name for name in stored.start_names() if name.startswith("drawings-")):
        with np.load(stored.STARTS / f"{name}.npz", allow_pickle=False) as archive:
            assert json.loads(str(archive["header"]))["test_episodes"] == {"5-way": 600, "20-way": 200}
