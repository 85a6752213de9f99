"""The precision of CUDA: set in the context alone, and only for CUDA."""

from __future__ import annotations

import contextlib

import pytest
import torch

from mamlkit.core.system.precision import precision

SETTINGS = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)


def now() -> list[str]:
    return [setting.fp32_precision for setting in SETTINGS]


@pytest.mark.parametrize(("tf32", "word"), [(False, "ieee"), (True, "tf32")])
def test_convolutions_and_products_have_one_precision_until_the_context_ends(tf32: bool, word: str) -> None:
    before = now()
    seen: list[str] = []
    with contextlib.suppress(ZeroDivisionError), precision(torch.device("cuda"), tf32=tf32):
        seen += now()
        seen += str(1 / 0)
    assert seen == [word, word]
    assert now() == before


def test_other_devices_change_nothing() -> None:
    before = now()
    with precision(torch.device("cpu"), tf32=True):
        assert now() == before
