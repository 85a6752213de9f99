"""A network of the user's own, from the command line: trained, killed, resumed, evaluated, and found again."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kept import contents
from tiny import same
from waiting import wait_until

from mamlkit import Config, ImageStore, InputError, Problem, Trainer
from mamlkit.__main__ import main
from mamlkit.datasets import load
from mamlkit.runs.folder import RunFolder

SOURCE = Path(__file__).with_name("own_networks.py")
SIZES = dict(n_way=2, q_query=1, eval_query=1, n_steps=2, n_tasks=2, image_size=16, epochs=3, iterations_per_epoch=2)
OPTIONS = [
    f"--{name.replace('_', '-')}={value}" for name, value in {**SIZES, "val_episodes": 2, "test_episodes": 2}.items()
]
TRAIN = ["train", "--recipe", "maml", *OPTIONS]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that lies in the current folder alone, by a name that no other test uses."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    shutil.copy(SOURCE, tmp_path / f"{name}.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    sys.modules.pop(name, None)


def mamlkit(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def refused(*arguments: str) -> str:
    """Return the one sentence with which a command refuses what it was given."""
    result = mamlkit(*arguments)
    assert result.exit_code == 2, result.output
    assert [line[:7] for line in result.stderr.splitlines()][-1] == "Error: ", result.stderr
    assert "Traceback" not in result.output
    return result.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.parametrize("network", ["recurrent", "attentive"])
def test_a_run_is_killed_and_resumed_to_the_same_bits_and_evaluated_from_anywhere(
    own: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = [*TRAIN, "--backbone", f"{own}:{network}"]
    command = [sys.executable, "-m", "mamlkit", *train, "--out", "killed"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        first = tmp_path / "killed" / "checkpoints" / "epoch-0001.safetensors"
        wait_until(lambda: process.poll() is not None or first.exists())
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert mamlkit(*train, "--out", "straight").exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # where the module is not
    resumed = mamlkit("train", "--resume", str(tmp_path / "killed"))
    assert resumed.exit_code == 0, resumed.output
    assert contents(tmp_path / "killed") == contents(tmp_path / "straight")
    told = json.loads(mamlkit("evaluate", str(tmp_path / "killed"), "--json").stdout)
    assert told["evaluations"] == json.loads((tmp_path / "straight" / "result.json").read_text())["evaluations"]


def test_a_recurrent_network_is_said_to_be_computed_task_by_task(own: str) -> None:
    said = mamlkit(*TRAIN, "--backbone", f"{own}:recurrent", "--out", "run")
    assert "engine eager: " in said.output
    assert "torch.vmap cannot map the network Recurrent over tasks" in said.output
    assert json.loads(Path("run/run.json").read_text())["config"]["engine"] == "eager"


def test_a_function_may_return_a_problem_with_its_own_loss_and_metric(own: str) -> None:
    result = mamlkit(*TRAIN, "--backbone", f"{own}:one_against_all", "--inner-lr", "0.01", "--out", "run")
    assert result.exit_code == 0, result.output
    kept = json.loads(Path("run/result.json").read_text())
    assert kept["accuracy"] > 0.25  # of two classes each answer has two right or wrong parts
    assert kept["evaluations"]["batch"]["loss"] < 5


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("absent", "has no attribute 'absent'"),
        ("number", "returns 3; a torch.nn.Module is needed"),
        ("failing", "cannot be built (RuntimeError: no such size)"),
        ("counting", "the network Counting changes its tensor 'seen' when called; return statistics instead"),
        ("leaving", "cannot be built (SystemExit: no licence)"),
        ("each_loss", "the loss returns a tensor of shape [2]; a scalar is needed"),
        ("one_output", "the problem fails on its first task (IndexError: Target 1 is out of bounds"),
        ("too_small", "the network Sequential cannot take inputs of shape [2, 1, 16, 16]"),
    ],
)
def test_a_function_that_gives_no_network_is_one_sentence_and_nothing_is_written(
    own: str, function: str, sentence: str
) -> None:
    assert sentence in refused(*TRAIN, "--backbone", f"{own}:{function}", "--out", "run")
    assert not Path("run").exists()


def test_a_module_that_is_nowhere_is_one_sentence() -> None:
    sentence = refused(*TRAIN, "--backbone", "no_such_module_of_mine:make")
    assert "there is no module no_such_module_of_mine" in sentence
    assert "choose one of conv4" in refused(*TRAIN, "--backbone", "conv5")


def test_per_step_flags_are_refused_for_a_network_that_has_no_such_layers(own: str) -> None:
    sentence = refused("train", "--recipe", "mamlpp", *OPTIONS, "--backbone", f"{own}:attentive")
    assert "per_step_bn = True has no meaning: the network Attentive has no PerStepBatchNorm2d" in sentence


def test_a_run_whose_module_was_moved_says_where_it_was(own: str, tmp_path: Path) -> None:
    assert mamlkit(*TRAIN, "--backbone", f"{own}:attentive", "--out", "run").exit_code == 0
    os.rename(f"{own}.py", "gone.txt")
    sys.modules.pop(own)
    for command in (["evaluate", "run"], ["train", "--resume", "run"]):
        sentence = refused(*command)
        assert f"run was trained with a network of {tmp_path / own}.py, but" in sentence
        assert f"there is no module {own}" in sentence


def test_a_module_that_has_changed_is_said_to_have(own: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    assert mamlkit(*TRAIN, "--backbone", f"{own}:attentive", "--out", "run").exit_code == 0
    with caplog.at_level(logging.WARNING, "mamlkit"):
        assert mamlkit("evaluate", "run").exit_code == 0
        assert caplog.messages == []
        with open(f"{own}.py", "a", encoding="utf-8") as file:
            file.write("# another line\n")
        assert mamlkit("evaluate", "run").exit_code == 0
    assert caplog.messages == [f"{tmp_path / own}.py has changed since run began: the network may differ"]


@pytest.fixture(scope="module")
def glyphs() -> ImageStore:
    return load("glyphs", image_size=16)


def test_a_problem_that_was_handed_to_a_run_must_be_handed_again(own: str, glyphs: ImageStore, tmp_path: Path) -> None:
    config = Config(**SIZES, val_episodes=2, device="cpu")
    problem = Problem.from_config(Config.from_dict({"backbone": f"{SOURCE.stem}:attentive"}, config), (1, 16, 16))
    run = RunFolder.create(tmp_path / "run", config, glyphs, recipe="maml", command="", problem=problem)
    trainer = Trainer.from_config(config, glyphs, problem=problem)
    run.restore(trainer)
    for _ in trainer.epochs():
        run.save(trainer)
    again = RunFolder.open(tmp_path / "run", problem)
    [learner] = again.learners([3], (1, 16, 16))
    assert same(learner.state(), trainer.learner.state())
    with pytest.raises(InputError, match=r"was given its problem \(own_networks\.Attentive\); pass it again"):
        RunFolder.open(tmp_path / "run").learners([3], (1, 16, 16))
    assert "pass it again" in refused("evaluate", str(tmp_path / "run"))


@pytest.mark.parametrize("function", ["recurrent", "own_problem", "one_against_all"])
def test_a_function_may_return_the_embedding_of_prototypical_networks(own: str, function: str) -> None:
    sizes = [option for option in OPTIONS if not option.startswith("--n-steps")]
    result = mamlkit("train", "--recipe", "protonet", *sizes, "--backbone", f"{own}:{function}", "--out", "run")
    assert result.exit_code == 0, result.output
    model = RunFolder.open(Path("run")).learners([1], (1, 16, 16))[0].params
    assert not any("head" in name for name in model)


def test_a_module_of_the_same_name_in_another_place_is_not_taken_for_the_runs_own(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mamlkit(*TRAIN, "--backbone", f"{own}:attentive", "--out", "run").exit_code == 0
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / f"{own}.py"
    other.write_text(SOURCE.read_text(encoding="utf-8") + "# another network\n", encoding="utf-8")
    sys.modules.pop(own)
    monkeypatch.syspath_prepend(other.parent)
    for command in (["evaluate", "run"], ["train", "--resume", "run"]):
        sentence = refused(*command)
        assert (
            f"run was trained with a network of {tmp_path / own}.py, but here '{own}:attentive' is in {other};"
            in sentence
        )
    shutil.copy(f"{own}.py", other)
    sys.modules.pop(own)
    assert mamlkit("evaluate", "run").exit_code == 0  # a copy serves as well


@pytest.mark.parametrize("kept", [None, {}, {"file": 3, "folder": "x", "sha256": "y"}, "somewhere"])
def test_a_run_that_does_not_say_where_its_network_is_is_refused(own: str, kept: object) -> None:
    assert mamlkit(*TRAIN, "--backbone", f"{own}:attentive", "--out", "run").exit_code == 0
    file = Path("run/run.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "network": kept}))
    assert "run does not say where its network" in refused("evaluate", "run")
