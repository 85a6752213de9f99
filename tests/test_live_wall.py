"""The class wall: who drew what, who is right on its episodes, and which characters are confused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.recipes import configure
from mamlkit.datasets import load
from mamlkit.datasets.drawings import Drawing, Sheet, rasterise
from mamlkit.datasets.wall import read_sheets
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.live.wall import NEAREST, Answers, Wall, answer, open_wall, write_sample
from mamlkit.training.evaluation import mean_ci95
from mamlkit.training.learner import MetaLearner


def fan(spread: int, wobble: int) -> Drawing:
    """Return two strokes from one point: a narrow or a wide V, by whom it is drawn."""
    return (((10 + wobble, 10), (50 - spread, 90)), ((10 + wobble, 10), (50 + spread, 90 - wobble)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for wobble, drawer in enumerate(("ann", "bob", "cy")):
        classes = {name: fan(10 * spread, wobble) for spread, name in enumerate("abcd")}
        if drawer == "bob":
            del classes["c"]
        (tmp_path / f"{drawer}.json").write_text(Sheet(classes).to_json(), "utf-8")
    return tmp_path


@pytest.fixture
def wall(folder: Path) -> Wall:
    return open_wall(str(folder), n_way=3, seed=0)


@pytest.fixture
def starts() -> dict[str, MetaLearner]:
    """Two starts that nobody trained, of two steps."""
    small = dict(n_way=5, k_shot=1, filters=3, n_steps=2, dtype="float64", engine="eager", device="cpu")
    return {name: MetaLearner.from_config(configure(name, **small), (1, 28, 28)) for name in ("maml", "mamlpp")}


def test_the_contact_sheet_has_a_row_for_each_drawer_and_a_column_for_each_character(folder: Path, wall: Wall) -> None:
    picture = wall.contact_sheet()
    assert picture.shape == (3 * 28, 4 * 28)
    for row, sheet in enumerate(read_sheets(str(folder)).values()):
        for column, name in enumerate("abcd"):
            tile = picture[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
            if name in sheet.classes:
                assert np.array_equal(255 - tile, rasterise(sheet.classes[name]))
            else:
                assert 0 < tile.min() == tile.max() < 255


def test_fewer_characters_than_asked_for_are_all_taken(folder: Path) -> None:
    assert open_wall(str(folder), n_way=3, seed=0).sampler.n_way == 3
    assert open_wall(str(folder), n_way=9, seed=0).sampler.n_way == 4


def test_a_character_that_one_alone_has_drawn_is_left_out_and_named(folder: Path) -> None:
    (folder / "dee.json").write_text(Sheet({"lonely": fan(20, 5)}).to_json(), "utf-8")
    wall = open_wall(str(folder), n_way=9, seed=0)
    assert (wall.lonely, wall.copies) == (("lonely",), ())
    (folder / "dee-2.json").write_bytes((folder / "dee.json").read_bytes())
    assert open_wall(str(folder), n_way=9, seed=0).copies == ("'lonely' of dee",)
    assert wall.sampler.n_way == 4
    assert "lonely" not in {name for index in range(20) for name in wall.sampler.class_names(index)}
    assert wall.contact_sheet().shape == (4 * 28, 5 * 28)


def test_sheets_that_share_fewer_than_two_characters_are_refused(tmp_path: Path) -> None:
    for number, names in enumerate(("ab", "ac")):
        sheet = Sheet({name: fan(20 + 9 * i, number) for i, name in enumerate(names)})
        (tmp_path / f"{number}.json").write_text(sheet.to_json(), "utf-8")
    with pytest.raises(InputError, match=r"share 1 characters; 2 or more, each drawn twice, are needed$"):
        open_wall(str(tmp_path), n_way=2, seed=0)


def test_two_characters_whose_drawings_look_the_same_keep_their_names(tmp_path: Path, starts) -> None:
    stick: Drawing = (((50, 10), (50, 90)),)  # wherever it stands, its picture is the same
    for number in range(3):
        moved = tuple(tuple((x - 10 * (number + 1), y) for x, y in stroke) for stroke in stick)
        sheet = Sheet({"1": stick if number else moved, "l": moved if number else stick, "v": fan(30, number)})
        (tmp_path / f"{number}.json").write_text(sheet.to_json(), "utf-8")
    answers = answer(open_wall(str(tmp_path), n_way=3, seed=0), starts, episodes=6)
    assert all(sorted(names) == ["1", "l", "v"] for names in answers.names)


def test_every_answer_is_that_of_the_method_for_one_question_by_itself(wall: Wall, starts) -> None:
    done: list[int] = []
    answers = answer(wall, starts, episodes=4, on_episode=done.append)
    assert done == [1, 2, 3, 4]
    assert list(answers.labels) == ["maml", "mamlpp", NEAREST]
    assert {table.shape for table in answers.labels.values()} == {(3, 4, 3)}
    for number, episode in enumerate(answers.episodes):
        assert all(map(torch.equal, episode, wall.sampler.episode(number)))
        for query in range(3):
            asked = episode.query_x[query : query + 1]
            for name, start in starts.items():
                [by_step] = Classifier(start, episode.support_x).probabilities(asked)
                assert answers.labels[name][:, number, query].tolist() == by_step.argmax(-1).tolist()
            pixels = (episode.support_x - asked).square().sum((1, 2, 3))
            assert answers.labels[NEAREST][:, number, query].tolist() == 3 * [int(pixels.argmin())]


def test_the_names_are_those_of_the_pictures(wall: Wall, starts) -> None:
    answers = answer(wall, starts, episodes=3)
    for episode, names in zip(answers.episodes, answers.names):
        for pictures in (episode.support_x, episode.query_x):
            for picture, name in zip((255 * pictures[:, 0]).round().byte().numpy(), names):
                own = wall.store.class_images(wall.store.class_names.index(name))
                assert any(np.array_equal(picture, image) for image in own)


@pytest.fixture
def known() -> Answers:
    """Two episodes of three classes of which the answers are known: 2 and 1 of 3 right by A, all by B."""
    nothing = torch.zeros(3, 1, 28, 28)
    episode = Episode(nothing, torch.arange(3), nothing, torch.arange(3))
    labels = {
        "A": np.array([[[2, 2, 2], [2, 2, 2]], [[0, 1, 1], [1, 0, 2]]]),
        "B": np.array([[[0, 0, 0], [0, 0, 0]], [[0, 1, 2], [0, 1, 2]]]),
    }
    return Answers((episode, episode), (("x", "y", "z"), ("y", "z", "w")), labels)


def test_the_accuracy_is_that_after_the_last_step_over_episodes(known: Answers) -> None:
    assert known.accuracy("A") == mean_ci95(torch.tensor([2 / 3, 1 / 3], dtype=torch.float64))
    assert known.accuracy("B") == (1.0, 0.0)


def test_confusions_are_counted_by_name_and_only_where_both_were_there(known: Answers) -> None:
    found = [(c.true, c.given, c.asked, c.times) for c in known.confusions()]
    assert found == [("z", "y", 2, {"A": 2, "B": 0}), ("y", "z", 2, {"A": 1, "B": 0})]


def test_the_invented_class_has_twelve_sheets_of_the_same_ten_unseen_characters(tmp_path: Path) -> None:
    write_sample(tmp_path, seed=3)
    sheets = read_sheets(str(tmp_path))
    assert list(sheets)[::11] == ["student-01", "student-12"]
    store = load("wall", path=str(tmp_path))
    assert np.diff(store.offsets).tolist() == 10 * [12]
    glyphs = load("glyphs")
    unseen = {glyphs.class_names[label].split("U+")[1].split()[0] for label in glyphs.splits["test"]}
    assert {f"{ord(name):04X}" for name in store.class_names} <= unseen
    (again := tmp_path / "again").mkdir()
    write_sample(again, seed=4)
    assert set(load("wall", path=str(again)).class_names) != set(store.class_names)
