"""Glyphs: the stored file is whole, is what its builder makes, and holds no look-alikes."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mamlkit.core.errors import InputError
from mamlkit.datasets import ImageStore, load
from mamlkit.datasets import glyphs as module

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """Return data/build_glyphs.py as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DATA))
        spec = importlib.util.spec_from_file_location("build_glyphs", DATA / "build_glyphs.py")
        assert spec is not None
        assert spec.loader is not None
        build_glyphs = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "build_glyphs", build_glyphs)
        spec.loader.exec_module(build_glyphs)
        return build_glyphs


def test_there_are_a_thousand_classes_of_twenty_images(glyphs: ImageStore) -> None:
    assert glyphs.images.shape == (21000, 28, 28)
    assert np.array_equal(glyphs.offsets, np.arange(1051) * 20)
    assert len(set(glyphs.class_names)) == 1050
    assert all(re.fullmatch(r"[A-Z][\w -]+/U\+[0-9A-F]{4,5} [A-Z0-9 -]+", name) for name in glyphs.class_names)


def test_images_are_ink_255_on_0_and_none_is_nearly_blank(glyphs: ImageStore) -> None:
    assert np.unique(glyphs.images).tolist() == [0, 255]
    ink = (glyphs.images > 0).sum(axis=(1, 2))
    assert ink.min() >= 10
    assert ink.max() < 784 / 2


def test_the_twenty_images_of_a_class_all_differ(glyphs: ImageStore) -> None:
    assert all(len({image.tobytes() for image in glyphs.class_images(c)}) == 20 for c in range(1050))


def test_splits_are_70_10_20_percent_and_disjoint(glyphs: ImageStore) -> None:
    assert [len(glyphs.splits[name]) for name in ("train", "val", "test")] == [735, 105, 210]
    assert sorted(np.concatenate(list(glyphs.splits.values()))) == list(range(1050))


def test_the_file_is_small_and_holds_the_pictures_in_the_size_in_which_they_are_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (DATA / "glyphs.npz").stat().st_size < 2_000_000
    for slow in ("_resize", "cached"):
        monkeypatch.delattr(module, slow)
    assert len(load("glyphs").images) == 21_000


def test_the_builder_draws_the_stored_pictures_again(glyphs: ImageStore, builder: ModuleType) -> None:
    wanted = [glyphs.class_names[c] for c in (0, 200, 400, 600, 1049)]
    for code, name, font in builder.candidates():
        if name in wanted:
            wanted.remove(name)
            line = builder.thin(builder.render(code, font)[None])[0]
            images = builder.hands(builder.Character(code, name, builder.points_of(line)))
            stored = glyphs.class_images(glyphs.class_names.index(name)) > 0
            with np.load(DATA / "glyphs.npz") as file:
                same_versions = file["built_with"].tobytes().decode() == builder.VERSIONS
            assert (images != stored).mean() <= (0 if same_versions else 0.01), name
    assert wanted == []


def test_the_stored_split_is_the_builders(glyphs: ImageStore, builder: ModuleType) -> None:
    split = builder.split_of(1050)
    assert all(np.array_equal(np.flatnonzero(split == n), glyphs.splits[s]) for n, s in enumerate(glyphs.splits))


def test_look_alikes_across_scripts_are_gone(glyphs: ImageStore) -> None:
    codes = {name.split("/")[1].split()[0] for name in glyphs.class_names}
    assert "U+0041" in codes  # Latin A stays, Greek Alpha, Cyrillic A and Lisu A go
    assert codes.isdisjoint({"U+0391", "U+0410", "U+A4EE"})
    assert "U+004F" not in codes or "U+0030" not in codes


def test_a_look_alike_is_dropped_upright_and_turned_and_another_is_kept(builder: ModuleType) -> None:
    points = {}
    for character in "TБ":
        points[character] = builder.points_of(builder.thin(builder.render(ord(character), builder.DEJAVU)[None])[0])
    turned = points["T"][:, ::-1] * (-1, 1)
    lines = [points["T"], points["T"] + 0.01, turned, points["Б"]]
    kept = builder.drop_look_alikes([builder.Character(i, str(i), line) for i, line in enumerate(lines)])
    assert [character.code for character in kept] == [0, 3]


def test_another_size_is_resized_once(glyphs: ImageStore, own_cache: Path) -> None:
    small = load("glyphs", image_size=14)
    assert small.images.shape == (21000, 14, 14)
    blocks = glyphs.images[:50].reshape(50, 14, 2, 14, 2).mean(axis=(2, 4))
    assert np.corrcoef(blocks.ravel(), small.images[:50].ravel())[0, 1] > 0.95
    assert small.class_names == glyphs.class_names
    assert len(list(own_cache.glob("glyphs-*.npy"))) == 1


def test_the_datasheet_states_the_files_sha256() -> None:
    digest = hashlib.sha256((DATA / "glyphs.npz").read_bytes()).hexdigest()
    assert load("glyphs").sha256 == digest
    assert digest in (DATA / "README.md").read_text(encoding="utf-8")


def test_the_packaged_file_comes_first_and_a_damaged_or_missing_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = tmp_path / "glyphs.npz"
    packaged.write_bytes((DATA / "glyphs.npz").read_bytes()[:5000])
    monkeypatch.setattr(module, "PLACES", (packaged, DATA / "glyphs.npz"))
    with pytest.raises(InputError) as caught:
        load("glyphs")
    assert f"{packaged} is damaged" in str(caught.value)
    monkeypatch.setattr(module, "PLACES", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(InputError, match="the embedded data set is missing at"):
        load("glyphs")
