"""Episodes: what they hold, that they depend on (seed, split, index) alone, and what the sampler refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mamlkit.core.episodes import SPLITS, Episode, EpisodeSampler, ImageStore, as_bytes
from mamlkit.core.errors import InputError

SIZES = {"n_way": 3, "k_shot": 2, "q_query": 1, "seed": 7}
COUNTS = [3, 5, 4, 3, 3, 3, 3, 6, 3, 3, 3, 3]
SIDE = 4


def make_store(channels: int = 0) -> ImageStore:
    """Twelve classes; pixel (0, 0) of an image is its class + 1, pixel (0, 1) its number in the class + 101."""
    images = np.zeros((sum(COUNTS), SIDE, SIDE), dtype=np.uint8)
    images[:, 0, 0] = np.repeat(np.arange(len(COUNTS)), COUNTS) + 1
    images[:, 0, 1] = np.concatenate([np.arange(count) for count in COUNTS]) + 101
    if channels:
        images = np.stack([images + np.uint8(channel) for channel in range(channels)], axis=-1)
    return ImageStore(
        name="numbers",
        images=images,
        offsets=np.concatenate([[0], np.cumsum(COUNTS)]),
        class_names=tuple(f"class {c}" for c in range(len(COUNTS))),
        splits={"train": np.array([0, 1, 2, 7, 8]), "val": np.array([3, 4, 9]), "test": np.array([5, 6, 10, 11])},
        sha256="",
    )


def make_sampler(split: str = "train", **changes: Any) -> EpisodeSampler:
    return EpisodeSampler(make_store(), split, **{**SIZES, **changes})


def read(images: Tensor) -> list[tuple[int, int, int]]:
    """Return (class, number, quarter turns) of each image, ``[n, 1, 4, 4]``."""
    found = []
    for image in (images[:, 0] * 255).round().long().numpy():
        turn = next(k for k in range(4) if np.rot90(image, -k)[0, 0])
        upright = np.rot90(image, -turn)
        found.append((int(upright[0, 0]) - 1, int(upright[0, 1]) - 101, turn))
    return found


def assert_equal(a: Episode, b: Episode) -> None:
    assert all(torch.equal(x, y) for x, y in zip(a, b))


def test_an_episode_has_the_promised_shapes_types_and_order() -> None:
    episode = make_sampler(k_shot=2, q_query=1).episode(0)
    assert [tuple(field.shape) for field in episode] == [(6, 1, 4, 4), (6,), (3, 1, 4, 4), (3,)]
    assert [field.dtype for field in episode] == [torch.float32, torch.int64] * 2
    assert episode.support_y.tolist() == [0, 0, 1, 1, 2, 2]
    assert episode.query_y.tolist() == [0, 1, 2]
    assert all(field.is_contiguous() for field in episode)


def test_pixels_are_the_stored_bytes_over_255() -> None:
    store = make_store()
    episode = EpisodeSampler(store, "train", **SIZES).episode(0)
    for image, (label, number, _) in zip(episode.support_x, read(episode.support_x)):
        stored = store.class_images(label)[number]
        assert torch.equal(image[0], torch.from_numpy(stored).float() / 255)


def test_an_episode_depends_on_seed_split_and_index_alone() -> None:
    straight = [make_sampler().episode(index) for index in range(4)]
    sampler = make_sampler()
    for index in (3, 0, 2, 1, 3):
        assert_equal(sampler.episode(index), straight[index])
    assert all(not torch.equal(straight[0].support_x, other.support_x) for other in straight[1:])
    assert not torch.equal(make_sampler(seed=8).episode(0).support_x, straight[0].support_x)


def test_two_splits_with_the_same_classes_draw_different_episodes() -> None:
    everything = np.arange(len(COUNTS))
    store = dataclasses.replace(make_store(), splits=dict.fromkeys(SPLITS, everything))
    drawn = {str(read(EpisodeSampler(store, split, **SIZES).episode(0).support_x)) for split in SPLITS}
    assert len(drawn) == 3


def test_episode_5_of_seed_7_stays_what_it_is() -> None:
    drawn = [(7, 1, 0), (7, 4, 0), (7, 2, 1), (7, 0, 1), (2, 0, 0), (2, 2, 0)]
    assert read(make_sampler(rotation="classes").episode(5).support_x) == drawn


def test_support_and_query_are_different_images_of_the_same_classes() -> None:
    sampler = make_sampler(k_shot=1, q_query=2)
    for index in range(100):
        episode = sampler.episode(index)
        support, query = read(episode.support_x), read(episode.query_x)
        assert len(set(support + query)) == 9
        of_label = {label: found[0] for label, found in zip(episode.support_y.tolist(), support)}
        assert len(set(of_label.values())) == 3
        assert all(found[0] == of_label[label] for label, found in zip(episode.query_y.tolist(), query))


@pytest.mark.parametrize("rotation", ["none", "classes", "episodes"])
@pytest.mark.parametrize("split", SPLITS)
def test_an_episode_takes_every_class_of_its_split_and_no_other(split: str, rotation: str) -> None:
    sampler = make_sampler(split, rotation=rotation)
    drawn = {label for index in range(100) for label, _, _ in read(sampler.episode(index).support_x)}
    assert drawn == set(sampler.store.splits[split].tolist())


def test_every_class_gets_every_label_equally_often() -> None:
    sampler = make_sampler(k_shot=1)
    table = np.zeros((len(COUNTS), 3))
    for index in range(1500):
        for label, (drawn, _, _) in enumerate(read(sampler.episode(index).support_x)):
            table[drawn, label] += 1
    table = table[sampler.store.splits["train"]]  # 1500 / 5 classes = 300 expected in each place
    assert np.abs(table - 300).max() < 75


def test_every_image_of_a_class_is_drawn_equally_often_whatever_the_class_size() -> None:
    sampler = make_sampler(k_shot=1, q_query=1)
    drawn = np.zeros((len(COUNTS), max(COUNTS)))
    for index in range(1500):
        episode = sampler.episode(index)
        for label, number, _ in read(torch.cat([episode.support_x, episode.query_x])):
            drawn[label, number] += 1
    for label in sampler.store.splits["train"]:
        expected = 1500 * 3 / 5 * 2 / COUNTS[label]
        assert np.abs(drawn[label, : COUNTS[label]] / expected - 1).max() < 0.2


def test_a_batch_is_its_episodes_stacked() -> None:
    sampler = make_sampler()
    batch = sampler.batch(10, 4)
    assert batch.support_x.shape == (4, 6, 1, 4, 4)
    for task in range(4):
        assert_equal(Episode(*(field[task] for field in batch)), sampler.episode(10 + task))


def test_colour_images_come_with_the_channels_first() -> None:
    sampler = EpisodeSampler(make_store(channels=3), "train", **SIZES)
    episode = sampler.episode(0)
    assert sampler.image_shape == (3, 4, 4)
    assert episode.support_x.shape == (6, 3, 4, 4)
    pixels = (episode.support_x * 255).round()
    assert torch.equal(pixels[:, 0] + 2, pixels[:, 2])


@pytest.mark.parametrize("rotation", ["classes", "episodes"])
def test_colour_images_turn_as_grey_ones_do(rotation: str) -> None:
    colour = EpisodeSampler(make_store(channels=3), "train", rotation=rotation, **SIZES).batch(0, 9)
    grey = make_sampler(rotation=rotation).batch(0, 9)
    assert {turn for _, _, turn in read(grey.query_x.flatten(0, 1))} == {0, 1, 2, 3}
    assert torch.equal(colour.support_x[:, :, :1], grey.support_x)
    assert torch.equal(colour.query_x[:, :, :1], grey.query_x)


def test_classes_rotation_makes_four_classes_of_one_in_every_split() -> None:
    for split in SPLITS:
        sampler = make_sampler(split, rotation="classes")
        assert sampler.n_classes == 4 * make_sampler(split).n_classes
        drawn = {(label, turn) for i in range(400) for label, _, turn in read(sampler.episode(i).support_x)}
        assert len(drawn) == sampler.n_classes


def test_classes_rotation_may_put_two_turns_of_a_character_into_an_episode_but_never_one_twice() -> None:
    sampler = make_sampler("val", rotation="classes", n_way=12, k_shot=1)
    found = read(sampler.episode(0).support_x)
    assert len({(label, turn) for label, _, turn in found}) == 12
    assert len({label for label, _, _ in found}) == 3


def test_episodes_rotation_turns_in_the_train_split_only() -> None:
    for split in SPLITS:
        sampler = make_sampler(split, rotation="episodes")
        assert sampler.n_classes == make_sampler(split).n_classes
        turns = {turn for i in range(50) for _, _, turn in read(sampler.episode(i).support_x)}
        assert turns == ({0, 1, 2, 3} if split == "train" else {0})


@pytest.mark.parametrize("rotation", ["classes", "episodes"])
def test_all_images_of_a_class_in_an_episode_share_one_turn(rotation: str) -> None:
    sampler = make_sampler(rotation=rotation)
    for index in range(50):
        episode = sampler.episode(index)
        pairs = zip(
            torch.cat([episode.support_y, episode.query_y]).tolist(),
            read(torch.cat([episode.support_x, episode.query_x])),
        )
        assert len({(label, found[0], found[2]) for label, found in pairs}) == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split": "training"}, r"split = 'training' is unknown \(did you mean 'train'\?\); choose one of train, val"),
        ({"rotation": "class"}, r"rotation = 'class' is unknown \(did you mean 'classes'\?\); .* none, classes, episo"),
        ({"n_way": 0}, "n_way = 0 is not positive; 1 or more is allowed"),
        ({"k_shot": -1}, "k_shot = -1 is not positive"),
        ({"q_query": 0}, "q_query = 0 is not positive"),
        ({"seed": -1}, "seed = -1 is negative; 0 or more is allowed"),
        ({"n_way": 6}, "n_way = 6 is more than the 5 classes in the train split of numbers"),
        ({"n_way": 21, "rotation": "classes"}, "n_way = 21 is more than the 20 classes"),
        ({"split": "val", "n_way": 4, "rotation": "episodes"}, "n_way = 4 is more than the 3 classes in the val split"),
        ({"k_shot": 3}, r"k_shot \+ q_query = 3 \+ 1 is more than the 3 images of class 'class 0' of numbers"),
    ],
)
def test_what_a_split_cannot_supply_is_refused_by_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_sampler(**changes)


@pytest.mark.parametrize("rotation", ["classes", "episodes"])
def test_images_that_are_not_square_cannot_turn(rotation: str) -> None:
    store = dataclasses.replace(make_store(), images=make_store().images[:, :3])
    with pytest.raises(InputError, match=f"rotation = '{rotation}' needs square images, but those of numbers are 3x4"):
        EpisodeSampler(store, "train", rotation=rotation, **SIZES)
    assert EpisodeSampler(store, "train", **SIZES).episode(0).support_x.shape == (6, 1, 3, 4)


def test_a_turn_is_a_quarter_turn_of_the_stored_picture() -> None:
    sampler = make_sampler(rotation="classes")
    images = sampler.episode(0).support_x
    for image, (label, number, turn) in zip(images, read(images)):
        stored = sampler.store.class_images(label)[number]
        assert np.array_equal((image[0] * 255).round().numpy(), np.rot90(stored, turn))


def test_every_turn_of_a_class_of_omniglot_is_a_class(omniglot: ImageStore) -> None:
    sampler = EpisodeSampler(omniglot, "train", n_way=5, k_shot=1, q_query=1, seed=0, rotation="classes")
    assert sampler.n_classes == 4600


class Watched(np.ndarray):
    """Pictures that write down the shapes of all indices by which they are read."""

    def __getitem__(self, key: Any) -> Any:
        READ.append(np.shape(key))
        return np.asarray(self)[key]


READ: list[tuple[int, ...]] = []


@pytest.mark.parametrize("rotation", ["none", "episodes", "classes"])
def test_a_meta_batch_reads_its_own_pictures_and_all_at_once(rotation: str) -> None:
    store = make_store()
    sampler = EpisodeSampler(
        dataclasses.replace(store, images=store.images.view(Watched)), "train", rotation=rotation, **SIZES
    )
    READ.clear()
    batch = sampler.batch(0, 8)
    assert [(8, SIZES["n_way"], SIZES["k_shot"] + SIZES["q_query"])] == READ
    assert torch.equal(batch.support_x, make_sampler(rotation=rotation).batch(0, 8).support_x)


@pytest.mark.parametrize("rotation", ["none", "classes"])
def test_the_names_of_an_episodes_classes_are_those_its_pictures_come_from(rotation: str) -> None:
    images = np.repeat(np.arange(1, 8, dtype=np.uint8), 3)[:, None, None] * np.ones(
        (1, 4, 4), np.uint8
    )  # 7 classes of 3
    store = ImageStore("x", images, np.arange(0, 22, 3), tuple("abcdefg"), {"train": np.arange(7)}, "")
    sampler = EpisodeSampler(store, "train", n_way=4, k_shot=1, q_query=2, seed=5, rotation=rotation)
    for index in range(5):
        pictured = (sampler.episode(index).support_x[:, 0, 0, 0] * 255).round().int().tolist()
        assert sampler.class_names(index) == tuple("abcdefg"[value - 1] for value in pictured)


def test_images_outside_of_0_to_1_are_clamped_to_bytes() -> None:
    assert as_bytes(torch.tensor([-1.0, 0.5, 2.0])).tolist() == [0, 128, 255]
