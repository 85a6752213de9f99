"""The class wall: a folder of sheets becomes a data set, and what is wrong with a bad one is said in one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mamlkit.core.episodes import EpisodeSampler
from mamlkit.core.errors import InputError
from mamlkit.datasets import load
from mamlkit.datasets.drawings import Drawing, Sheet, rasterise
from mamlkit.datasets.wall import find_copies, read_sheets


def line(x: int) -> Drawing:
    return (((10, 10), (x, 90)),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three students drew a and b, the first two c as well; only the first has a query."""
    root = tmp_path / "sheets"
    root.mkdir()
    for number, student in enumerate(("zoe", "ann", "bob")):
        names = "bca" if student != "bob" else "ab"
        classes = {name: line(20 + 10 * number + ord(name) % 7) for name in names}
        sheet = Sheet(classes, line(77) if student == "zoe" else ())
        (root / f"{student}.json").write_text(sheet.to_json(), "utf-8")
    return root


def test_a_class_is_a_name_and_has_its_drawings_of_all_sheets_in_the_order_of_the_files(folder: Path) -> None:
    store = load("wall", path=str(folder))
    assert (store.name, store.class_names, store.offsets.tolist()) == ("wall", ("a", "b", "c"), [0, 3, 6, 8])
    sheets = read_sheets(str(folder))
    assert list(sheets) == ["ann", "bob", "zoe"]
    for index, name in enumerate(store.class_names):
        drawn = [rasterise(sheet.classes[name]) for sheet in sheets.values() if name in sheet.classes]
        assert np.array_equal(store.class_images(index), np.stack(drawn))
    assert store.images.dtype == np.uint8
    assert store.images.max() == 255


def test_the_query_of_a_sheet_is_nowhere(folder: Path) -> None:
    query = rasterise(line(77))
    assert not any(np.array_equal(image, query) for image in load("wall", path=str(folder)).images)


def test_all_classes_are_tested_on_and_none_is_trained_on(folder: Path) -> None:
    store = load("wall", path=str(folder))
    assert {split: classes.tolist() for split, classes in store.splits.items()} == {
        "train": [],
        "val": [],
        "test": [0, 1, 2],
    }
    episode = EpisodeSampler(store, "test", n_way=3, k_shot=1, q_query=1, seed=0).episode(0)
    assert episode.support_x.shape == (3, 1, 28, 28)
    for split in ("train", "val"):
        with pytest.raises(InputError, match=f"n_way = 2 is more than the 0 classes in the {split} split of wall"):
            EpisodeSampler(store, split, n_way=2, k_shot=1, q_query=1, seed=0)


def test_a_class_with_one_drawing_is_named_where_an_episode_needs_more(folder: Path) -> None:
    (folder / "cy.json").write_text(Sheet({"d": line(50)}).to_json(), "utf-8")
    store = load("wall", path=str(folder))
    with pytest.raises(InputError, match=r"k_shot \+ q_query = 1 \+ 1 is more than the 1 images of class 'd' of wall"):
        EpisodeSampler(store, "test", n_way=2, k_shot=1, q_query=1, seed=0)


def test_another_size_is_resized(folder: Path) -> None:
    store = load("wall", path=str(folder), image_size=42)
    assert store.images.shape == (8, 42, 42)
    assert store.images[0].max() > 200


def test_the_sum_follows_the_files_and_other_files_do_not_matter(folder: Path) -> None:
    before = load("wall", path=str(folder)).sha256
    (folder / "notes.txt").write_text("not a sheet")
    (folder / ".hidden.json").write_text("not a sheet")
    assert load("wall", path=str(folder)).sha256 == before
    (folder / "ann.json").write_text(Sheet({"a": line(33), "b": line(44)}).to_json(), "utf-8")
    assert load("wall", path=str(folder)).sha256 != before


def sheet_of(**classes: Drawing) -> str:
    encoded = [
        {"name": name, "strokes": ["".join(f"{x:02}{y:02}" for x, y in stroke) for stroke in drawing]}
        for name, drawing in classes.items()
    ]
    return json.dumps({"format": "mamlkit-drawings-1", "classes": encoded})


def write(content: str | bytes) -> Callable[[Path], None]:
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / "bad.json").write_bytes(raw) and None


def only(content: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for file in folder.iterdir():
            file.unlink()
        (folder / "one.json").write_text(content, "utf-8")

    return spoil


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def a_folder(folder: Path) -> None:
    (folder / "bad.json").mkdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (write("not JSON"), r"bad\.json is not JSON; it must be a sheet that a drawing pad exported"),
        (write(b"\xff\xfe"), r"bad\.json is not text; it must be a sheet that a drawing pad exported"),
        (write("[" * 3999), r"bad\.json is not JSON"),
        (write('{"cells": []}'), r"bad\.json is not a sheet of drawings: .*"),
        (write(" " * 4001), r"bad\.json has more than 4000 bytes; a sheet of drawings has at most that many"),
        (write(sheet_of(a=())), r"'a' of .*bad\.json is empty; draw a character, large and in the middle"),
        (write(sheet_of(a=(((50, 50),),))), r"'a' of .*bad\.json is a dot, 0 of 100 wide and high; .*"),
        (write(sheet_of(a=line(50), b=())), r"'b' of .*bad\.json is empty"),
        (a_folder, r"cannot read .*bad\.json: Is a directory"),
        (only(sheet_of(a=line(50))), r"the sheets in .*sheets have 1 classes; 2 or more are needed"),
        (only(sheet_of()), r"one\.json is not a sheet of drawings: \['classes'\]: \[\] should be non-empty"),
        (empty, r"sheets has no file that ends in \.json; put the sheets that drawing pads exported there"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_that_names_the_file(
    folder: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=sentence) as caught:
        load("wall", path=str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("", "the data set wall needs a path, the folder of the exported sheets; it is empty"),
        ("nowhere", "nowhere is not a folder; it must be a folder of sheets that drawing pads exported"),
    ],
)
def test_no_folder_is_said(path: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(sentence)):
        load("wall", path=path)


def test_nothing_is_cached(folder: Path, own_cache: Path) -> None:
    load("wall", path=str(folder))
    assert not own_cache.exists()


def hook(x: int) -> Drawing:
    return (((10, 10), (x, 90), (90, 50)),)


def test_a_drawing_that_is_there_twice_counts_once_and_is_named(folder: Path) -> None:
    (folder / "cat.json").write_text(Sheet({"a": hook(30), "b": hook(40)}).to_json(), "utf-8")
    (folder / "dee.json").write_text(Sheet({"a": hook(30), "b": hook(41)}).to_json(), "utf-8")  # an example left there
    (folder / "eve.json").write_text(Sheet({"b": hook(30), "c": hook(50)}).to_json(), "utf-8")  # of another name
    for copy in ("cat (1)", "eve (1)"):  # exported twice; the name comes before that of the original
        (folder / f"{copy}.json").write_bytes((folder / f"{copy[:3]}.json").read_bytes())
    sheets = read_sheets(str(folder))
    assert sorted(sheets) == ["ann", "bob", "cat (1)", "dee", "eve (1)", "zoe"]
    assert list(sheets["dee"].classes) == ["b"]
    assert find_copies(str(folder)) == ("'a' of cat", "'b' of cat", "'a' of dee", "'b' of eve", "'c' of eve")
    store = load("wall", path=str(folder))
    for label in range(3):
        pictures = {image.tobytes() for image in store.class_images(label)}
        assert len(pictures) == len(store.class_images(label))
    assert np.diff(store.offsets).tolist() == [3 + 1, 3 + 3, 2 + 1]


def test_a_line_of_two_points_may_be_drawn_alike_by_two_people(folder: Path) -> None:
    shared = read_sheets(str(folder))["bob"].classes["a"]
    (folder / "dee.json").write_text(Sheet({"a": shared, "b": line(11)}).to_json(), "utf-8")
    assert len(load("wall", path=str(folder)).class_images(0)) == 4
    assert find_copies(str(folder)) == ()
