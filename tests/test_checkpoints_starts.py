"""Starts to adapt from: what ``save_start`` keeps, ``read_start`` gives back, in either precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mamlkit import ImageStore, InputError, MetaLearner, Trainer, configure
from mamlkit.runs import checkpoints
from mamlkit.study import stored

TINY = configure(
    "mamlpp", n_way=2, filters=3, n_steps=2, n_tasks=2, epochs=1, iterations_per_epoch=2, val_episodes=2, eval_query=2
)
SHAPE = (1, 28, 28)
RATES = {"rate_history": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture(scope="module")
def trained(glyphs: ImageStore) -> MetaLearner:
    trainer = Trainer.from_config(TINY, glyphs)
    next(trainer.epochs())
    return trainer.learner


@pytest.fixture
def path(trained: MetaLearner, tmp_path: Path) -> Path:
    target = tmp_path / "start.safetensors"
    checkpoints.save_start(target, trained, about={"test_accuracy": 0.5}, extra=RATES)
    return target


@pytest.fixture
def old(path: Path, tmp_path: Path) -> Path:
    """The same start as older versions wrote it."""
    header, state = checkpoints.read(path)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in state.items()}
    np.savez_compressed(tmp_path / "start.npz", **{"header": np.array(json.dumps(header)), **arrays})
    return tmp_path / "start.npz"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["path", "old"])
def test_everything_but_adams_moments_comes_back(
    trained: MetaLearner, kind: str, dtype: str, request: pytest.FixtureRequest
) -> None:
    learner = checkpoints.read_start(request.getfixturevalue(kind), SHAPE, dtype=dtype)
    mine, kept = learner.state(), trained.state()
    assert mine.keys() == {name for name in kept if not name.startswith("adam/")}
    assert learner.config.to_dict() == {**TINY.to_dict(), "dtype": dtype}
    for name, value in mine.items():
        assert value.dtype == getattr(torch, dtype)
        assert torch.equal(value, kept[name].to(value.dtype)), name


def test_a_start_is_less_than_half_of_a_checkpoint(trained: MetaLearner, path: Path, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "whole.safetensors", trained, 1)
    assert path.stat().st_size < (tmp_path / "whole.safetensors").stat().st_size / 2


@pytest.mark.parametrize("kind", ["path", "old"])
def test_what_a_start_tells_besides_is_read_from_both_formats(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Path = request.getfixturevalue(kind)
    header, tensors = checkpoints.read(path)
    assert header["test_accuracy"] == 0.5
    assert torch.equal(tensors["rate_history"], RATES["rate_history"])
    (path.parent / "starts").mkdir()
    path.rename(path.parent / "starts" / path.name)
    monkeypatch.setattr(stored, "STARTS", path.parent / "starts")
    assert stored.start_names() == ("start",)
    assert np.array_equal(stored.rate_history("start"), RATES["rate_history"])
    assert stored.start("start").config == TINY


def test_a_start_of_an_older_version_lacks_an_option_and_one_of_a_newer_version_is_refused(old: Path) -> None:
    with np.load(old) as archive:
        arrays: dict[str, Any] = dict(archive)
    header = json.loads(str(arrays["header"]))
    del header["config"]["autocast"]
    np.savez(old, **{**arrays, "header": np.array(json.dumps(header))})
    assert checkpoints.read_start(old, SHAPE).config == TINY
    header["config"]["magic"] = 7
    np.savez(old, **{**arrays, "header": np.array(json.dumps(header))})
    with pytest.raises(
        InputError, match=r"start\.npz has the option magic = 7, which this version of mamlkit does not"
    ):
        checkpoints.read_start(old, SHAPE)


def test_a_damaged_or_missing_start_is_refused_in_one_sentence(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="not a complete checkpoint"):
        checkpoints.read_start(path, SHAPE)
    with pytest.raises(InputError, match="is missing"):
        checkpoints.read_start(tmp_path / "none.safetensors", SHAPE)


def test_a_start_that_lacks_a_tensor_is_refused(path: Path) -> None:
    header, state = checkpoints.read(path)
    del state["inner_lrs"]
    checkpoints._write(path, header, state)
    with pytest.raises(InputError, match="inner_lrs"):
        checkpoints.read_start(path, SHAPE)
