"""``mamlkit train``, really run, small: what it writes, what goes before what, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mamlkit.__main__ import main
from mamlkit.commands import events

SMALL = [
    "--n-way", "2", "--filters", "3", "--n-steps", "2", "--n-tasks", "1", "--q-query", "1", "--eval-query", "1",
    "--epochs", "2", "--iterations-per-epoch", "2", "--val-episodes", "4", "--test-episodes", "4",
]  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["train", *arguments])
    assert result.exit_code == code, result.output
    return result


def config(folder: str) -> dict[str, object]:
    return json.loads((Path(folder) / "result.json").read_text("utf-8"))["config"]


def test_a_run_leaves_its_configuration_metrics_checkpoints_and_result(own_folder: Path) -> None:
    result = run(*SMALL)
    folder = own_folder / "runs" / "glyphs-2way-1shot-mamlpp-seed0"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        ".lock", "config.toml", "run.json", "metrics.jsonl", "result.json",
        "checkpoints/epoch-0001.safetensors", "checkpoints/epoch-0002.safetensors",
    }  # fmt: skip
    kinds = [json.loads(line)["kind"] for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert kinds == ["iteration", "iteration", "epoch"] * 2
    found = json.loads((folder / "result.json").read_text("utf-8"))
    for norm in ("batch", "running"):
        assert f"{100 * found['evaluations'][norm]['accuracy']:.2f} ± " in result.stdout
    assert "epoch 2/2" in result.stdout


def test_an_option_goes_before_the_file_and_the_file_before_the_recipe() -> None:
    Path("mine.toml").write_text("inner_lr = 0.3\nouter_lr = 0.004\nlearn_inner_lrs = false\n", "utf-8")
    run(*SMALL, "--recipe", "maml+lslr", "--config", "mine.toml", "--outer-lr", "0.002", "--out", "here")
    got = config("here")
    assert (got["inner_lr"], got["outer_lr"], got["learn_inner_lrs"]) == (0.3, 0.002, False)
    assert got["beta2"] == 0.99  # the recipe's


def test_the_recipe_may_stand_in_the_file_and_an_option_goes_before_it() -> None:
    Path("mine.toml").write_text('recipe = "anil"\n', "utf-8")
    run(*SMALL, "--config", "mine.toml", "--out", "first")
    run(*SMALL, "--config", "mine.toml", "--recipe", "boil", "--out", "second")
    assert [config(folder)["adapt"] for folder in ("first", "second")] == ["head", "body"]


def test_the_configuration_that_a_run_keeps_gives_the_same_run_again() -> None:
    run(*SMALL, "--recipe", "maml", "--seed", "3", "--out", "first")
    run("--config", "first/config.toml", "--recipe", "maml", "--out", "second")
    keep = ("accuracy", "loss")
    first, second = (json.loads(Path(name, "result.json").read_text("utf-8")) for name in ("first", "second"))
    assert config("first") == config("second")
    assert all(first["evaluations"]["batch"][key] == second["evaluations"]["batch"][key] for key in keep)
    assert first["command"] == second["command"]
    run(*shlex.split(first["command"])[2:], "--out", "third")
    assert config("third") == config("first")


def test_a_finished_run_can_be_resumed_and_gives_the_same_result() -> None:
    run(*SMALL, "--out", "here")
    before = json.loads(Path("here/result.json").read_text("utf-8"))
    run("--resume", "here")
    after = json.loads(Path("here/result.json").read_text("utf-8"))
    assert {key: value for key, value in after.items() if key != "minutes"} == {
        key: value for key, value in before.items() if key != "minutes"
    }


@pytest.mark.usefixtures("has_cxx")
def test_the_engine_is_said_kept_and_taken_again() -> None:
    result = run(*SMALL, "--out", "here")
    assert "engine vmap: compiled is not used: 4 iterations of " in result.stdout
    assert "would not repay half a minute of compiling" in result.stdout
    assert config("here")["engine"] == "vmap"
    assert "engine" not in run("--resume", "here").stdout


def test_an_engine_that_this_machine_cannot_run_is_said_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    result = run(*SMALL, "--engine", "compiled", "--tasks-per-chunk", "9", "--out", "here")
    assert "engine vmap: compiled is not used: there is no C++ compiler (g++ or clang++)" in result.stdout
    assert "tasks_per_chunk = 9 is more than n_tasks = " in result.stdout
    assert config("here")["engine"] == "vmap"
    assert Path("here/result.json").exists()


def test_patience_ends_a_run_early_and_says_so() -> None:
    result = run(*SMALL, "--epochs", "9", "--patience", "1", "--outer-lr", "0", "--no-cosine-lr", "--out", "here")
    assert "Stopped early: no better validation in 1 epochs." in result.stdout
    assert json.loads(Path("here/result.json").read_text("utf-8"))["iterations"] == 4


def test_event_files_are_an_extra() -> None:
    run(*SMALL, "--out", "here", "--tensorboard")
    assert len(list(Path("here/tensorboard").glob("events.out.tfevents.*"))) == 1
    read = EventAccumulator("here/tensorboard")
    read.Reload()
    assert [event.step for event in read.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [event.step for event in read.Scalars("validation/accuracy")] == [2, 4]


def test_a_meta_gradient_that_is_not_finite_stops_or_is_skipped_and_counted() -> None:
    wild = [*SMALL, "--recipe", "maml", "--inner-lr", "1e30", "--n-steps", "4"]
    result = run(*wild, "--out", "stopped", code=2)
    assert "the meta-gradient of iteration 1 is not finite" in result.stderr
    assert "on_nonfinite is 'stop'" in result.stderr
    assert not Path("stopped/result.json").exists()
    result = run(*wild, "--out", "skipped", "--on-nonfinite", "skip")
    assert "2 steps not finite" in result.stdout
    assert json.loads(Path("skipped/result.json").read_text("utf-8"))["nonfinite"] == 4


def test_a_folder_that_holds_a_run_is_refused_and_left_as_it_is() -> None:
    run(*SMALL, "--out", "here")
    before = {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()}
    result = run(*SMALL, "--out", "here", code=2)
    assert "--out here already holds a run; continue it with --resume here" in result.stderr
    assert {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()} == before


def test_resume_takes_nothing_else() -> None:
    run(*SMALL, "--out", "here")
    for more in (["--epochs", "9"], ["--recipe", "maml"], ["--out", "there"]):
        assert "--resume here continues the run unchanged" in run("--resume", "here", *more, code=2).stderr


def test_other_data_than_the_run_began_with_are_refused() -> None:
    run(*SMALL, "--out", "here")
    about = json.loads(Path("here/run.json").read_text("utf-8"))
    Path("here/run.json").write_text(json.dumps({**about, "data_sha256": "0" * 64}), "utf-8")
    result = run("--resume", "here", code=2)
    assert f"here was trained on glyphs with SHA-256 {'0' * 64}" in result.stderr


def test_a_full_disk_ends_in_one_sentence_and_the_run_goes_on_when_there_is_room(own_folder: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no file-size limit")
    run(*SMALL, "--out", "straight")
    sizes = {path.name: path.stat().st_size for path in Path("straight").rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in ("run.json", "epoch-0001.safetensors"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[name] - 1, hard))
        try:
            result = run(*SMALL, "--out", "here", code=2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert re.fullmatch(rf"Error: cannot write \S*{name} \(File too large\); make room there.*\n", result.stderr)
        assert list(Path("here").rglob("*.tmp")) == list(Path("here").rglob("*.safetensors")) == []
    run("--resume", "here")
    whole, resumed = (json.loads(Path(folder, "result.json").read_text("utf-8")) for folder in ("straight", "here"))
    assert resumed["evaluations"] == whole["evaluations"]


def test_a_test_split_that_is_too_small_is_refused_before_anything_is_written(
    own_folder: Path, picture_folder: Callable[..., Path]
) -> None:
    counts = {f"{split}/{split}{label}": 2 + (split != "test") for split in ("train", "val", "test") for label in "ab"}
    data = ["--dataset", "folder", "--data-path", str(picture_folder(counts))]
    sentence = "k_shot + q_query = 1 + 2 is more than the 2 images of class 'testa' of folder"
    assert sentence in run(*SMALL, *data, "--eval-query", "2", code=2).stderr
    assert list(own_folder.glob("runs/*")) == []


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(own_folder: Path) -> None:
    absent = next(name for name in ("mps", "cuda") if not getattr(torch.backends, name).is_built())
    assert f"device = '{absent}' is not on this machine" in run(*SMALL, "--device", absent, code=2).stderr
    assert list(own_folder.glob("runs/*")) == []


def test_a_missing_extra_is_refused_before_anything_is_written(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "tensorboard", None)
    assert 'pip install "mamlkit[tensorboard]"' in run(*SMALL, "--tensorboard", code=2).stderr
    assert list(own_folder.glob("runs/*")) == []
