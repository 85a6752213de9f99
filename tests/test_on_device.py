"""Episodes drawn on a device: bit for bit those of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mamlkit import EpisodeSampler, ImageStore, Trainer, configure
from mamlkit.training import on_device
from mamlkit.training.on_device import DeviceSampler

SIZES: dict[str, Any] = dict(n_way=3, k_shot=2, q_query=1, seed=5)


def store(colours: bool) -> ImageStore:
    generator = np.random.default_rng(0)
    shape = (24, 6, 6, 3) if colours else (24, 6, 6)
    images = generator.integers(0, 256, shape, dtype=np.uint8)
    splits = {name: np.arange(6) for name in ("train", "val", "test")}
    return ImageStore("made up", images, np.arange(0, 25, 4), tuple("abcdef"), splits, "0")


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("rotation", ["none", "classes", "episodes"])
def test_the_episodes_are_those_of_the_cpu(rotation: str, colours: bool) -> None:
    here = EpisodeSampler(store(colours), "train", rotation=rotation, **SIZES)
    there = DeviceSampler(here, torch.device("cpu"))
    for first in (0, 7):
        for a, b in zip(here.batch(first, 4), there.batch(first, 4), strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


def test_all_of_an_episode_is_on_the_device() -> None:
    sampler = EpisodeSampler(store(False), "train", rotation="episodes", **SIZES)
    batch = DeviceSampler(sampler, torch.device("meta")).batch(0, 2)
    assert {part.device.type for part in batch} == {"meta"}
    assert batch.support_x.shape == (2, 6, 1, 6, 6)


def test_a_training_on_cuda_draws_there_and_has_the_same_history(
    glyphs: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(
        "maml",
        n_way=2,
        filters=3,
        n_steps=1,
        epochs=1,
        iterations_per_epoch=2,
        val_episodes=2,
        device="cpu",
        engine="eager",
    )
    trainers = [Trainer.from_config(config, glyphs)]
    monkeypatch.setattr(on_device, "DEVICES", ("cpu",))
    trainers.append(Trainer.from_config(config, glyphs))
    assert [type(trainer.train) for trainer in trainers] == [EpisodeSampler, DeviceSampler]
    assert [type(trainer.val) for trainer in trainers] == [EpisodeSampler, DeviceSampler]
    first, second = ([*trainer.epochs()][-1] for trainer in trainers)
    assert first.iterations == second.iterations
    assert first.validation == second.validation
