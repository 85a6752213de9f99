"""The names that ``from mamlkit import ...`` gives, loaded when the first of them is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mamlkit
from mamlkit.training import api


def test_every_public_name_is_given_and_listed() -> None:
    for name in api.__all__:
        assert getattr(mamlkit, name) is getattr(api, name)
    assert {*api.__all__, "__version__"} <= set(dir(mamlkit))
    names: dict[str, object] = {}
    exec("from mamlkit import *", names)
    assert set(api.__all__) <= names.keys()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Trainor'"):
        _ = mamlkit.Trainor
    with pytest.raises(AttributeError, match="module 'mamlkit' has no attribute '__wrapped__'"):
        _ = mamlkit.__wrapped__


@pytest.mark.parametrize(
    "first",
    ["import mamlkit.training.learner", "from mamlkit import datasets", "import mamlkit; mamlkit.engines.prepare"],
)
def test_any_module_may_be_the_first(first: str) -> None:
    subprocess.run([sys.executable, "-c", first], check=True)


def test_torch_waits_until_a_name_is_used() -> None:
    program = "import sys, mamlkit; assert 'torch' not in sys.modules; mamlkit.Trainer; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
