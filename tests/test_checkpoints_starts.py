"""Starts to adapt from: what ``save_start`` keeps, ``read_start`` gives back, in either precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mamlkit import ImageStore, InputError, MetaLearner, Trainer, configure
from mamlkit.runs import checkpoints

TINY = configure(
    "mamlpp", n_way=2, filters=3, n_steps=2, n_tasks=2, epochs=1, iterations_per_epoch=2, val_episodes=2, eval_query=2
)
SHAPE = (1, 28, 28)
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(scope="module")
def trained(glyphs: ImageStore) -> MetaLearner:
    trainer = Trainer.from_config(TINY, glyphs)
    next(trainer.epochs())
    return trainer.learner


@pytest.fixture
def path(trained: MetaLearner, tmp_path: Path) -> Path:
    target = tmp_path / "start.npz"
    checkpoints.save_start(target, trained, about={"test_accuracy": 0.5}, extra={"rate_history": np.zeros((2, 3))})
    return target


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_but_adams_moments_comes_back(trained: MetaLearner, path: Path, dtype: str) -> None:
    learner = checkpoints.read_start(path, SHAPE, dtype=dtype)
    mine, kept = learner.state(), trained.state()
    assert mine.keys() == {name for name in kept if not name.startswith("adam/")}
    assert learner.config.to_dict() == {**TINY.to_dict(), "dtype": dtype}
    for name, value in mine.items():
        assert value.dtype == getattr(torch, dtype)
        assert torch.equal(value, kept[name].to(value.dtype)), name


def test_a_start_is_smaller_than_a_checkpoint_and_holds_nothing_that_runs(trained, path: Path, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "whole.npz", trained, 1)
    assert path.stat().st_size < (tmp_path / "whole.npz").stat().st_size / 2
    with np.load(path, allow_pickle=False) as archive:
        assert "rate_history" in archive.files
        assert '"test_accuracy": 0.5' in str(archive["header"])


def test_a_damaged_or_missing_start_is_refused_in_one_sentence(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="not a whole checkpoint"):
        checkpoints.read_start(path, SHAPE)
    with pytest.raises(InputError, match="is missing"):
        checkpoints.read_start(tmp_path / "none.npz", SHAPE)


def test_a_start_that_lacks_a_tensor_is_refused(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "inner_lrs"}
    np.savez_compressed(path, **arrays)
    with pytest.raises(InputError, match="inner_lrs"):
        checkpoints.read_start(path, SHAPE)
