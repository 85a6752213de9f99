"""Folders of pictures: how they are read and split, and what is wrong with a bad one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mamlkit.core.errors import InputError
from mamlkit.datasets import load
from mamlkit.datasets.folders import split_classes

SPLIT_TREE = {"train/a": 2, "train/b": 3, "val/c": 2, "test/d": 2, "test/e": 4}
MakeFolder = Callable[..., Path]


def cached_files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("n_classes", [3, 4, 5, 10, 100])
def test_classes_are_split_64_16_20_and_no_split_is_empty(n_classes: int) -> None:
    splits = split_classes(n_classes)
    sizes = [len(splits[name]) for name in ("train", "val", "test")]
    assert sizes == {3: [1, 1, 1], 4: [2, 1, 1], 5: [3, 1, 1], 10: [6, 2, 2], 100: [64, 16, 20]}[n_classes]
    assert sorted(np.concatenate(list(splits.values()))) == list(range(n_classes))
    again = split_classes(n_classes)
    assert all(np.array_equal(splits[name], again[name]) for name in splits)


def test_a_folder_of_grey_pictures_has_one_channel_and_keeps_light_and_dark(picture_folder: MakeFolder) -> None:
    root = picture_folder({"a": 2, "b": 3, "c": 4})
    Image.new("L", (30, 30), 250).save(root / "b" / "1.png")
    store = load("folder", path=str(root), image_size=16)
    assert store.images.shape == (9, 16, 16)
    assert store.offsets.tolist() == [0, 2, 5, 9]
    assert store.class_names == ("a", "b", "c")
    assert (store.class_images(1)[1] == 250).all()


def test_one_colour_picture_makes_the_set_colour(picture_folder: MakeFolder) -> None:
    root = picture_folder({"a": 2, "b": 2, "c": 2})
    Image.new("RGB", (30, 30), (255, 0, 10)).save(root / "c" / "1.png")
    store = load("folder", path=str(root))
    assert store.images.shape == (6, 28, 28, 3)
    assert (store.class_images(2)[1] == (255, 0, 10)).all()


def test_subfolders_train_val_and_test_are_the_splits(picture_folder: MakeFolder) -> None:
    store = load("folder", path=str(picture_folder(SPLIT_TREE)))
    assert store.class_names == ("a", "b", "c", "d", "e")
    splits = {name: classes.tolist() for name, classes in store.splits.items()}
    assert splits == {"train": [0, 1], "val": [2], "test": [3, 4]}


def test_mini_imagenet_is_found_in_the_data_folder(picture_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = picture_folder(SPLIT_TREE, mode="RGB", suffix=".jpg")
    root = root.rename(root.with_name("mini-imagenet"))
    monkeypatch.setenv("MAMLKIT_DATA", str(root.parent))
    found = load("mini-imagenet", image_size=20)
    given = load("mini-imagenet", path=str(root), image_size=20)
    assert found.images.shape == (13, 20, 20, 3)
    assert np.array_equal(found.images, given.images)
    assert found.splits["test"].tolist() == [3, 4]


def test_hidden_and_other_files_do_not_count(picture_folder: MakeFolder) -> None:
    root = picture_folder({"a": 1, "b": 1, "c": 1})
    (root / ".git").mkdir()
    (root / "notes.txt").write_text("notes")
    (root / "a" / "Thumbs.db").write_text("no picture")
    (root / "a" / "._0.png").write_text("no picture")
    assert len(load("folder", path=str(root)).images) == 3


def test_a_picture_that_was_added_or_changed_is_noticed(picture_folder: MakeFolder) -> None:
    root = picture_folder({"a": 1, "b": 1, "c": 1}, suffix=".bmp")
    first = load("folder", path=str(root))
    changed = root / "a" / "0.bmp"
    size = changed.stat().st_size
    Image.new("L", (24, 20), 77).save(changed)
    os.utime(changed, (1, 1))
    assert changed.stat().st_size == size  # only the time tells
    second = load("folder", path=str(root))
    assert (second.images[0] == 77).all()
    assert second.sha256 != first.sha256
    Image.new("L", (9, 9), 99).save(root / "a" / "1.png")
    assert len(load("folder", path=str(root)).images) == 4


def test_a_file_that_does_not_decode_is_named_and_nothing_is_written(
    picture_folder: MakeFolder, own_cache: Path
) -> None:
    root = picture_folder({"a": 2, "b": 2, "c": 2}, mode="RGB", suffix=".jpg")
    bad = root / "b" / "1.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(InputError) as caught:
        load("folder", path=str(root))
    assert f"{bad} does not decode as an image" in str(caught.value)
    bad.write_bytes(b"not a picture")
    for name in ("folder", "mini-imagenet"):
        with pytest.raises(InputError):
            load(name, path=str(root))
    assert cached_files(own_cache) == []


def test_a_link_that_leads_nowhere_is_named(picture_folder: MakeFolder, own_cache: Path) -> None:
    root = picture_folder({"a": 2, "b": 2, "c": 2})
    (root / "b" / "9.png").symlink_to(root / "gone.png")
    with pytest.raises(InputError) as caught:
        load("folder", path=str(root))
    assert f"cannot read {root / 'b' / '9.png'}: No such file" in str(caught.value)
    assert cached_files(own_cache) == []


def test_an_empty_class_folder_is_named(picture_folder: MakeFolder) -> None:
    root = picture_folder({"a": 2, "b": 0, "c": 2})
    with pytest.raises(InputError) as caught:
        load("folder", path=str(root))
    assert f"class folder {root / 'b'} has no images; files ending in .bmp, .gif," in str(caught.value)


@pytest.mark.parametrize("name", ["folder", "mini-imagenet"])
def test_a_missing_folder_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(name, path=str(tmp_path / "nowhere"))
    assert f"{tmp_path / 'nowhere'} is not a folder" in str(caught.value)


@pytest.mark.parametrize("name", ["folder", "mini-imagenet"])
def test_the_home_of_nobody_is_a_missing_folder(name: str) -> None:
    with pytest.raises(InputError, match="~there-is-no-such-user/pictures is not a folder"):
        load(name, path="~there-is-no-such-user/pictures")


@pytest.mark.parametrize("name", ["folder", "mini-imagenet"])
def test_a_path_that_is_not_given_is_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAMLKIT_DATA", "")
    with pytest.raises(InputError, match=f"{name} needs"):
        load(name)


@pytest.mark.parametrize("name", ["folder", "mini-imagenet"])
def test_a_missing_split_is_named(name: str, picture_folder: MakeFolder) -> None:
    root = picture_folder({"train/a": 2, "train/b": 2, "test/c": 2})
    with pytest.raises(InputError) as caught:
        load(name, path=str(root))
    assert f"{root / 'val'} is missing; the folders train, val, test are needed" in str(caught.value)


def test_a_class_in_two_splits_is_refused(picture_folder: MakeFolder) -> None:
    root = picture_folder({"train/a": 2, "val/b": 2, "test/a": 2})
    with pytest.raises(InputError, match=r"class 'a' of .* is in train and in test; one is allowed"):
        load("folder", path=str(root))


@pytest.mark.parametrize(
    ("counts", "message"), [({"a": 2, "b": 2}, "has 2 class folders; at least 3"), ({".": 3}, "has no class folders")]
)
def test_too_few_classes_are_refused(counts: dict[str, int], message: str, picture_folder: MakeFolder) -> None:
    with pytest.raises(InputError, match=message):
        load("folder", path=str(picture_folder(counts)))
