"""The program as a whole: both ways to start it, its commands, and bad input in one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mamlkit import __version__
from mamlkit.__main__ import main

COMMANDS = ["tour", "lab", "train", "evaluate", "list", "data", "verify", "doctor"]
EXECUTABLE = Path(sys.executable).with_name("mamlkit")


@pytest.mark.parametrize("start", [[sys.executable, "-m", "mamlkit"], [str(EXECUTABLE)]], ids=["module", "script"])
def test_both_ways_to_start_it_give_the_version(start: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*start, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mamlkit, version {__version__}\n", "")


def test_the_help_names_every_command_with_what_it_does() -> None:
    text = CliRunner().invoke(main, ["--help"]).stdout
    named = re.findall(r"^  (\w+)  +\w.+$", text[text.index("Commands:") :], re.MULTILINE)
    assert named == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_and_every_option_in_it(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert all(option.help for option in main.commands[name].params if isinstance(option, click.Option))


def test_bad_input_is_one_sentence_on_standard_error_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mamlkit", "train", "--n-way", "999"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    sentence = "Error: n_way = 999 is more than the 735 classes in the train split of glyphs\n"
    assert done.stderr == sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["train", "--k-shot", "15", "--q-query", "9"],
            "k_shot + q_query = 15 + 9 is more than the 20 images",
        ),
        (
            ["train", "--recipe", "mamlpp", "--eval-steps", "7"],
            "eval_steps = 7 is more than the 5 steps of the per-",
        ),
        (["train", "--recipe", "maml++"], "recipe = 'maml++' is unknown (did you mean 'maml"),
        (["train", "--epoch", "3"], "No such option '--epoch'. Did you mean '--epochs'?"),
        (["train", "--n-steps", "many"], "'many' is not a valid integer"),
        (["train", "--config", "none.toml"], "cannot read the configuration none.toml: No such file"),
        (["train", "--resume", "nowhere"], "nowhere holds no run"),
        (["evaluate", "nowhere"], "nowhere holds no run"),
        (["verify", "--golden", "nowhere"], "--golden nowhere is not a folder"),
        (["data", "glyph"], "data set = 'glyph' is unknown (did you mean 'glyphs'?)"),
    ],
)
def test_each_kind_of_bad_input_names_itself_and_what_is_allowed(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.stderr.split())
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_in_a_file_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('n_ways = 5\ndataset = "glyphs"\n', "utf-8")
    result = CliRunner().invoke(main, ["train", "--config", "mine.toml"])
    assert result.exit_code == 2
    sentence = "unknown key 'n_ways' = 5 in the configuration; did you mean 'n_way'? (with the options of mine.toml)"
    assert result.stderr == f"Error: {sentence}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]
