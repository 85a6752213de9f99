"""The program as a whole: both ways to start it, its commands, and bad input in one sentence."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import mamlkit.commands
from mamlkit import __version__
from mamlkit.__main__ import COMMANDS, main
from mamlkit.datasets.omniglot import ARCHIVES

EXECUTABLE = Path(sys.executable).with_name("mamlkit")


@pytest.mark.parametrize("start", [[sys.executable, "-m", "mamlkit"], [str(EXECUTABLE)]], ids=["module", "script"])
def test_both_ways_to_start_it_give_the_version(start: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*start, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mamlkit, version {__version__}\n", "")


def test_the_help_has_each_command_with_the_first_sentence_of_its_help() -> None:
    context = click.Context(main)
    first = {name: main.get_command(context, name).get_short_help_str(200) for name in COMMANDS}
    assert first == COMMANDS
    modules = {path.stem for path in Path(mamlkit.commands.__path__[0]).glob("*.py")}
    assert COMMANDS.keys() <= modules
    text = CliRunner().invoke(main, ["--help"], terminal_width=200).stdout
    assert re.findall(r"^  (\w+)  +(\w.+)$", text[text.index("Commands:") :], re.MULTILINE) == list(COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_and_every_option_in_it(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    command = main.get_command(click.Context(main), name)
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["lab", "--help"], ["copy", "--help"], ["list"]])
def test_what_needs_no_torch_does_not_load_it(arguments: list[str]) -> None:
    program = f"""
import sys
from mamlkit.__main__ import main
try:
    main({arguments!r})
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "AssertionError" not in done.stderr
    assert "mamlkit" in done.stdout + done.stderr  # without a command, the help goes to standard error


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
        (["train", "--filtrs", "3"], "No such option '--filtrs'. Did you mean '--filters'?"),
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


Break = Callable[[Path, pytest.MonkeyPatch], list[str]]


def no_archive(folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    (folder / "omniglot").mkdir()
    for name in ARCHIVES:
        (folder / "omniglot" / name).write_bytes(b"PK\x03\x04 cut short")
    patch.setenv("MAMLKIT_DATA", str(folder))
    return ["--dataset", "omniglot"]


def climbing_archive(folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    arguments = no_archive(folder, patch)
    for name in ARCHIVES:
        with zipfile.ZipFile(folder / "omniglot" / name, "w") as archive:
            archive.writestr("../../outside.png", b"")
        content = (folder / "omniglot" / name).read_bytes()
        patch.setitem(ARCHIVES, name, hashlib.sha256(content).hexdigest())
    return arguments


def no_picture(folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    for label in ("a", "b", "c"):
        (folder / "pictures" / label).mkdir(parents=True)
        (folder / "pictures" / label / "1.png").write_bytes(b"not a picture")
    return ["--dataset", "folder", "--data-path", str(folder / "pictures")]


def empty_class(folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    arguments = no_picture(folder, patch)
    (folder / "pictures" / "b" / "1.png").unlink()
    return arguments


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_archive, r"images_background\.zip cannot be read as a zip archive \(.*\); delete it and fetch it again"),
        (climbing_archive, r"\.zip has a member '\.\./\.\./outside\.png' that leaves the archive's folder"),
        (no_picture, r"pictures.a.1\.png does not decode as an image"),
        (empty_class, r"class folder .*pictures.b has no images; files ending in .*\.png.* count"),
    ],
)
def test_bad_data_are_named_and_nothing_is_written(
    spoil: Break, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = spoil(tmp_path, monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(main, ["train", *arguments, "--out", "run"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(sentence, result.stderr)
    said = result.stderr.splitlines()
    assert len(said) == 1
    assert said[0].startswith("Error: ")
    assert [path for path in sorted(tmp_path.rglob("*")) if own_cache not in (path, *path.parents)] == before
    assert not own_cache.exists() or list(own_cache.iterdir()) == []


def test_an_unknown_key_in_a_file_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('n_ways = 5\ndataset = "glyphs"\n', "utf-8")
    result = CliRunner().invoke(main, ["train", "--config", "mine.toml"])
    assert result.exit_code == 2
    sentence = "unknown key 'n_ways' = 5 in the configuration; did you mean 'n_way'? (with the options of mine.toml)"
    assert result.stderr == f"Error: {sentence}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]
