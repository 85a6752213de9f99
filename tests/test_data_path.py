"""The data path never shows: drawing a meta-batch is indexing by numpy, and nothing of torch computes for it."""

from __future__ import annotations

from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from mamlkit import ImageStore, configure
from mamlkit.training.trainer import make_sampler


class Listening(TorchDispatchMode):
    """Write down what torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.heard.add(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rotation", ["none", "episodes", "classes"])
@pytest.mark.parametrize("n_way", [5, 20])
def test_drawing_computes_nothing_by_torch(glyphs: ImageStore, rotation: str, n_way: int) -> None:
    sampler = make_sampler(glyphs, configure("mamlpp", n_way=n_way, rotation=rotation), "train", training=True)
    with Listening() as torch_said:
        sampler.batch(0, 8)
    assert torch_said.heard <= {"aten.lift_fresh.default"}  # what torch.from_numpy says
