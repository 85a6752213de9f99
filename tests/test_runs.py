"""A run as a folder: what it keeps, how it goes on, and what is damaged in it is named."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import RUN, same

from mamlkit import Config, EpochRecord, Evaluation, ImageStore, InputError, Trainer, configure
from mamlkit.core.config import read_toml
from mamlkit.core.system.versions import versions
from mamlkit.runs import checkpoints
from mamlkit.runs.folder import RunFolder
from mamlkit.training.history import Iteration

TINY = configure("mamlpp", **RUN)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, glyphs: ImageStore) -> Path:
    """A run of three epochs; for reading only."""
    path = tmp_path_factory.mktemp("straight") / "run"
    run = RunFolder.create(path, TINY, glyphs, recipe="mamlpp", command="mamlkit train")
    trainer = Trainer.from_config(TINY, glyphs)
    for _ in trainer.epochs():
        run.save(trainer)
    assert run.history() == trainer.history
    return path


@pytest.fixture
def finished(straight: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be damaged."""
    shutil.copytree(straight, tmp_path / "run")
    return tmp_path / "run"


def files(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name != ".lock"}


def past(epoch: int, accuracy: float) -> EpochRecord:
    iteration = Iteration(epoch, 0.7, 0.5, 2.0, (0.1, 0.2), second_order=True, outer_lr=1e-3, finite=True)
    return EpochRecord(epoch, (iteration,), Evaluation(accuracy, 0.1, 1.0, 4, "batch"), 1.5)


def save_epochs(path: Path, store: ImageStore, *accuracies: float, ensemble: int = 1) -> tuple[RunFolder, list[Any]]:
    """Save epochs with these validation accuracies, and return which checkpoints there were after each."""
    config = Config.from_dict({"ensemble": ensemble}, TINY)
    run = RunFolder.create(path, config, store, recipe="mamlpp", command="")
    trainer = Trainer.from_config(config, store)
    kept = []
    for epoch, accuracy in enumerate(accuracies, 1):
        trainer.history.append(past(epoch, accuracy))
        run.save(trainer)
        kept.append(saved(path))
    assert run.history() == trainer.history
    return run, kept


def saved(path: Path) -> list[int]:
    return [int(file.stem[-4:]) for file in sorted((path / "checkpoints").iterdir())]


def test_only_the_best_checkpoints_and_the_last_are_kept(tmp_path: Path, glyphs: ImageStore) -> None:
    _, kept = save_epochs(tmp_path / "run", glyphs, 0.5, 0.9, 0.1, 0.6, 0.6, 0.2, ensemble=2)
    assert kept == [[1], [1, 2], [1, 2, 3], [2, 4], [2, 4, 5], [2, 4, 6]]


def test_a_checkpoint_that_should_have_been_removed_is_removed_later(tmp_path: Path, glyphs: ImageStore) -> None:
    run, kept = save_epochs(tmp_path / "run", glyphs, 0.5, 0.6, 0.7)
    assert kept[-1] == [3]
    path = tmp_path / "run" / "checkpoints" / "epoch-0003.safetensors"
    shutil.copy(path, path.with_name("epoch-0002.safetensors"))
    run.restore(Trainer.from_config(run.config, glyphs))
    assert saved(tmp_path / "run") == [3]


def test_a_run_goes_on_from_its_last_checkpoint_and_from_nothing_newer(finished: Path, glyphs: ImageStore) -> None:
    run = RunFolder.open(finished)
    history, before = run.history(), files(finished)
    assert [len(record.iterations) for record in history] == [2, 2, 2]
    trainer = Trainer.from_config(run.config, glyphs)
    run.restore(trainer)
    assert trainer.history == history
    assert list(trainer.epochs()) == []
    [learner] = run.learners([3], (1, 28, 28))
    for restored in (trainer.learner, learner):
        _, kept = checkpoints.read(finished / "checkpoints" / "epoch-0003.safetensors")
        assert same(restored.state(), kept)
    assert {**files(finished), "config.toml": None} == {**before, "config.toml": None}
    assert Config.from_dict(read_toml(finished / "config.toml")) == run.config
    shutil.rmtree(finished / "checkpoints")
    run.restore(trainer)
    assert trainer.history == []
    assert (finished / "metrics.jsonl").read_bytes() == b""


def test_what_follows_the_last_checkpoint_may_be_cut_short_anywhere(tmp_path: Path, glyphs: ImageStore) -> None:
    run, _ = save_epochs(tmp_path / "run", glyphs, 0.9, 0.5)
    metrics = tmp_path / "run" / "metrics.jsonl"
    whole, history = metrics.read_bytes(), run.history()
    end = [match.end() for match in re.finditer(b"\n", whole)][1]  # of the first epoch
    (tmp_path / "run" / "checkpoints" / "epoch-0002.safetensors").unlink()
    trainer = Trainer.from_config(run.config, glyphs)
    for cut in range(end, len(whole) + 1, 5):
        metrics.write_bytes(whole[:cut])
        run.restore(trainer)
        assert trainer.history == history[:1]
        assert metrics.read_bytes() == whole[:end]
    metrics.write_bytes(whole[: end - 1])
    with pytest.raises(InputError, match=r"metrics\.jsonl ends with epoch 0; the last checkpoint has epoch 1$"):
        run.restore(trainer)


def test_what_is_not_finite_comes_back_from_json_without_nan(tmp_path: Path, glyphs: ImageStore) -> None:
    config = Config.from_dict({"on_nonfinite": "skip", "inner_lr": 1e30, "backbone": "conv4"}, TINY)
    run = RunFolder.create(tmp_path / "run", config, glyphs, recipe="mamlpp", command="")
    trainer = Trainer.from_config(config, glyphs)
    next(trainer.epochs())
    run.save(trainer)
    [record] = run.history()
    assert math.isnan(record.iterations[0].loss)
    assert repr(record).replace("inf", "nan") == repr(trainer.history[0]).replace("inf", "nan")
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_new_run_tells_what_it_is(tmp_path: Path, glyphs: ImageStore) -> None:
    made = RunFolder.create(tmp_path / "a" / "run", TINY, glyphs, recipe="mamlpp", command="mamlkit train")
    opened = RunFolder.open(tmp_path / "a" / "run")
    assert opened.config == made.config == TINY
    expected = {"recipe": "mamlpp", "command": "mamlkit train", "versions": versions(), "data_sha256": glyphs.sha256}
    assert opened.about == made.about == {"format": 2, **expected, "network": {}}
    assert set(versions()) == {"python", "mamlkit", "torch", "numpy", "commit", "machine"}
    assert opened.history() == []


def test_a_folder_that_holds_a_run_is_refused_and_kept(finished: Path, glyphs: ImageStore) -> None:
    before = files(finished)
    with pytest.raises(
        InputError, match=rf"^--out {re.escape(str(finished))} already holds a run; continue .*--resume"
    ):
        RunFolder.create(finished, TINY, glyphs, recipe="maml", command="")
    assert files(finished) == before


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "checkpoints"])
def test_a_folder_with_leftovers_of_a_run_is_refused_and_kept(name: str, tmp_path: Path, glyphs: ImageStore) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(InputError, match=rf"^--out {re.escape(str(tmp_path))} holds {name} but no run; move it away"):
        RunFolder.create(tmp_path, TINY, glyphs, recipe="maml", command="")
    assert files(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"holds no run \(there is no .*run\.json\); give a folder that mamlkit train made"),
        (b"", r"run\.json is damaged \(.*\); restore a copy of it, or train again"),
        (b'{"format": 1,', r"run\.json is damaged \(.*\)"),
        (b"\xff\xfe", r"run\.json is damaged \(.*\)"),
        (b"7", r"run\.json is damaged \(.*\)"),
        (
            b'{"format": 1, "recipe": "maml", "command": ""}',
            r"run\.json is damaged: it lacks config, versions, data_sha256$",
        ),
    ],
)
def test_a_damaged_run_json_is_named(finished: Path, content: bytes | None, sentence: str) -> None:
    (finished / "run.json").unlink()
    if content is not None:
        (finished / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        RunFolder.open(finished)


def test_a_run_of_another_format_or_with_an_impossible_configuration_is_refused(finished: Path) -> None:
    about = json.loads((finished / "run.json").read_bytes())
    (finished / "run.json").write_text(json.dumps({**about, "format": 3}))
    with pytest.raises(InputError, match=r"run\.json has format 3; this version of mamlkit reads 1 and 2$"):
        RunFolder.open(finished)
    (finished / "run.json").write_text(json.dumps({**about, "config": {**about["config"], "n_way": 1}}))
    with pytest.raises(InputError, match=r"run\.json has an invalid configuration: n_way = 1 is out"):
        RunFolder.open(finished)
    (finished / "run.json").write_text(json.dumps({**about, "config": {**about["config"], "n_ways": 2}}))
    with pytest.raises(InputError, match=r"run\.json has the option n_ways = 2, which this version of mamlkit does"):
        RunFolder.open(finished)


UNKNOWN = b'{"kind": "iteration", "epoch": 1, "inner_grad_norms": [], "more": 1}'
LINES = [b"", b"{", b"\xff", b"[]", b'{"kind": "iteration"}', b'{"kind": "epoch", "epoch": 1}', UNKNOWN]


@pytest.mark.parametrize("line", [*LINES, b"7"])
def test_a_damaged_line_of_metrics_is_named_with_its_number(finished: Path, line: bytes, glyphs: ImageStore) -> None:
    path = finished / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:4], line, *lines[5:]]))
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))} is damaged at line 5 \("):
        RunFolder.open(finished).restore(Trainer.from_config(TINY, glyphs))


def test_a_strange_file_among_the_checkpoints_is_no_hindrance(finished: Path, glyphs: ImageStore) -> None:
    folder = finished / "checkpoints"
    shutil.copy(folder / "epoch-0003.safetensors", folder / "epoch-0003 (copy).safetensors")
    trainer = Trainer.from_config(TINY, glyphs)
    RunFolder.open(finished).restore(trainer)
    assert len(trainer.history) == 3
    assert (folder / "epoch-0003 (copy).safetensors").exists()


def test_a_checkpoint_that_is_missing_or_damaged_is_named(finished: Path, glyphs: ImageStore) -> None:
    run = RunFolder.open(finished)
    path = finished / "checkpoints" / "epoch-0003.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"epoch-0003\.safetensors is not a complete checkpoint"):
        run.restore(Trainer.from_config(run.config, glyphs))
    path.unlink()
    with pytest.raises(InputError, match=r"the checkpoint .*epoch-0003\.safetensors is missing"):
        run.learners([3], (1, 28, 28))


def test_a_checkpoint_of_another_run_is_refused(finished: Path, glyphs: ImageStore) -> None:
    other = dataclasses.replace(TINY, seed=1)
    with pytest.raises(
        InputError, match=r"epoch-0003\.safetensors has another configuration: its seed is 0, and 1 is needed"
    ):
        RunFolder(finished, other, {}).restore(Trainer.from_config(other, glyphs))
