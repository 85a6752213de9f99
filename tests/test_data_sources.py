"""The registry of data sets: an entry and a reader are all that a data set needs."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mamlkit import Config, ImageStore, InputError
from mamlkit.__main__ import main
from mamlkit.commands.options import FieldOption
from mamlkit.core.data_sources import SOURCES, DataSource, with_a_path, without_a_path
from mamlkit.core.system.imports import load_by_name
from mamlkit.datasets import load

SMALL = "--n-way 2 --q-query 1 --eval-query 1 --n-steps 1 --filters 2 --n-tasks 2 --epochs 1 --iterations-per-epoch 1"
SHORT = "--val-episodes 2 --test-episodes 2 --engine eager --ensemble 1"


def noise(image_size: int) -> ImageStore:
    """Read twelve classes of three random pictures."""
    images = np.random.default_rng(0).integers(0, 256, (36, image_size, image_size), np.uint8)
    splits = {"train": np.arange(4), "val": np.arange(4, 8), "test": np.arange(8, 12)}
    names = tuple(f"noise {number}" for number in range(12))
    return ImageStore("noise", images, np.arange(13) * 3, names, splits, "0" * 64)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of the user's own: its reader in a module, and one entry."""
    module = types.ModuleType("own_reader")
    module.noise = noise  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_reader", module)
    monkeypatch.setitem(SOURCES, "noise", DataSource("own_reader:noise", classes="12", images="36", place="made up"))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("registered")
def test_one_entry_and_its_reader_are_a_data_set_for_the_library_and_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Config(dataset="noise").dataset == "noise"
    assert load("noise", image_size=16).images.shape == (36, 16, 16)
    [field] = [field for field in dataclasses.fields(Config) if field.name == "dataset"]
    assert "|wall|noise; default" in (FieldOption([], field=field).help or "")
    assert [line for line in run("data").splitlines() if "noise" in line and "made up" in line]
    assert run("data", "noise").startswith("noise: 12 classes, 36 images, 3 per class\n")
    assert "Recipes on noise" in run("list", "--dataset", "noise")
    run("train", "--dataset", "noise", "--recipe", "maml", *SMALL.split(), *SHORT.split(), "--out", "run")
    assert json.loads(run("evaluate", "run", "--json"))["data_sha256"] == "0" * 64
    assert json.loads(run("evaluate", "run", "--dataset", "glyphs", "--json"))["data_sha256"] != "0" * 64
    assert json.loads(run("evaluate", "run", "--dataset", "noise", "--json"))["config"]["dataset"] == "noise"


def test_without_the_entry_it_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(InputError, match=f"dataset = 'noise' is not allowed; choose one of {', '.join(SOURCES)}"):
        Config(dataset="noise")


@pytest.mark.parametrize("name", SOURCES)
def test_everything_that_an_entry_names_is_there(name: str) -> None:
    source = SOURCES[name]
    for reference in filter(None, (source.reader, source.find, source.verify)):
        assert callable(load_by_name(reference))
    assert not source.how_to_get or source.find


@pytest.mark.parametrize("name", ["glyphs", "omniglot"])
def test_the_numbers_of_an_entry_are_those_of_the_data(name: str, request: pytest.FixtureRequest) -> None:
    store: Any = request.getfixturevalue(name)
    source = SOURCES[name]
    assert source.classes == f"{len(store.class_names):,}"
    assert source.images == f"{len(store.images):,}"
    assert source.split == "/".join(str(len(classes)) for classes in store.splits.values())


def test_a_data_set_takes_a_path_or_opens_by_its_name() -> None:
    assert without_a_path() == ("glyphs", "omniglot")
    assert set(with_a_path()) == set(SOURCES) - set(without_a_path())
    for name in with_a_path():
        assert Config(dataset=name, data_path="pictures").data_path == "pictures"
