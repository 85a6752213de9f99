"""Few-shot episodes: the image store, the episode and the sampler.

An episode depends only on ``(seed, split, index)``. There is no generator with a state, so a run resumes at episode
12,345 by drawing episode 12,345.

Axis letters: ``T`` tasks, ``N`` way, ``S`` support images, ``Q`` query images, ``C, H, W`` channels, height, width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit.core.errors import InputError, check_choice

SPLITS = ("train", "val", "test")
ROTATIONS = ("none", "classes", "episodes")


@dataclass(frozen=True, eq=False)
class ImageStore:
    """Hold the images of a data set in one array, class after class, and the classes of each split.

    Args:
        name: the data set's name.
        images: uint8 ``[n_images, H, W]`` or ``[n_images, H, W, 3]``, possibly a memory map. Character data has ink
            255 on background 0.
        offsets: int64 ``[n_classes + 1]``; class ``c`` owns ``images[offsets[c]:offsets[c + 1]]``.
        class_names: one name for each class.
        splits: ``train``, ``val`` and ``test``, each an array of class indices; disjoint.
        sha256: SHA-256 of the source data, hexadecimal.
    """

    name: str
    images: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    class_names: tuple[str, ...]
    splits: Mapping[str, NDArray[np.int64]]
    sha256: str

    def class_images(self, index: int | np.int64) -> NDArray[np.uint8]:
        """Return the images of class ``index`` as stored, uint8 ``[n, H, W]`` or ``[n, H, W, 3]``."""
        return self.images[self.offsets[index] : self.offsets[index + 1]]


class Episode(NamedTuple):
    """One few-shot task; a meta-batch is an ``Episode`` whose tensors all have a leading ``[T]``.

    In tasks of your own, each field may be any pytree of tensors, such as a dictionary of token tensors.
    """

    support_x: Tensor  # [S, C, H, W] float32 in [0, 1], S = n_way * k_shot, ordered by class
    support_y: Tensor  # [S] int64 in [0, n_way)
    query_x: Tensor  # [Q, C, H, W], Q = n_way * q_query
    query_y: Tensor  # [Q]


def count(batch: Any) -> int:
    """Return T, the number of tasks of a meta-batch, or of any pytree of tensors with a leading [T]."""
    return len(pytree.tree_leaves(batch)[0])


def like(batch: Episode, tensor: Tensor) -> Episode:
    """Return a meta-batch on the device of ``tensor``, its floating-point tensors in the dtype of ``tensor``."""
    moved: Episode = pytree.tree_map(
        lambda x: x.to(tensor.device, tensor.dtype if x.is_floating_point() else x.dtype), batch
    )
    return moved


class EpisodeSampler:
    r"""Draw N-way, k-shot episodes from one split of an image store.

    .. math:: (seed, split, index) \mapsto (support, query)

    Args:
        store: the images and their splits.
        split: ``"train"``, ``"val"`` or ``"test"``.
        n_way: classes in an episode, 1 or more.
        k_shot: support images for each class, 1 or more.
        q_query: query images for each class, 1 or more; disjoint from the support set.
        seed: 0 or more.
        rotation: ``"none"``; ``"classes"``: each class counts as four, turned by 0, 90, 180 and 270 degrees, in every
            split (the paper's text); ``"episodes"``: a random quarter turn per class and episode, in the train split
            only (the authors' code).

    Raises:
        InputError: a name is unknown, a size is not positive, or the split cannot supply such an episode.

    Source: section 4.1 of the paper.
    """

    def __init__(
        self,
        store: ImageStore,
        split: str,
        *,
        n_way: int,
        k_shot: int,
        q_query: int,
        seed: int,
        rotation: str = "none",
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("rotation", rotation, ROTATIONS)
        for name, value in (("n_way", n_way), ("k_shot", k_shot), ("q_query", q_query)):
            if value < 1:
                raise InputError(f"{name} = {value} is not positive; 1 or more is allowed")
        if seed < 0:
            raise InputError(f"seed = {seed} is negative; 0 or more is allowed")
        self.store, self.split, self.seed = store, split, seed
        self.n_way, self.k_shot, self.q_query = n_way, k_shot, q_query
        self._classes = np.asarray(store.splits[split], dtype=np.int64)
        self._turned_classes = rotation == "classes"
        self._turned_episodes = rotation == "episodes" and split == "train"
        self._check_supply(rotation)

    @property
    def n_classes(self) -> int:
        """Number of classes to draw from; each rotation of a class counts as a class."""
        return len(self._classes) * (4 if self._turned_classes else 1)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape ``(C, H, W)`` of one image."""
        height, width, *channels = self.store.images.shape[1:]
        return (channels[0] if channels else 1), height, width

    def episode(self, index: int) -> Episode:
        """Draw episode ``index``.

        Args:
            index: number of the episode, 0 or more; the same index always gives the same episode.

        Returns:
            Images float32 in [0, 1], ordered by class; labels ``0 .. n_way - 1`` in the order the classes were drawn.
        """
        return Episode(*(field[0] for field in self.batch(index, 1)))

    def class_names(self, index: int) -> tuple[str, ...]:
        """Return the names of the classes of episode ``index``, by label."""
        images, _ = self._draw(index)
        classes = self.store.offsets.searchsorted(images[:, 0], side="right") - 1  # [N, k + q] -> [N]
        return tuple(self.store.class_names[each] for each in classes)

    def batch(self, first_index: int, n_tasks: int) -> Episode:
        """Return episodes ``first_index .. first_index + n_tasks - 1`` as one meta-batch with a leading ``[T]``."""
        drawn, turns = self.draw(first_index, n_tasks)
        images = self.store.images[drawn]  # [T, N, k + q, H, W(, 3)]
        for turn in np.unique(turns[turns > 0]):
            chosen = turns == turn
            images[chosen] = np.rot90(images[chosen], turn, axes=(2, 3))
        images = np.moveaxis(images, -1, 3) if images.ndim == 6 else images[:, :, :, None]  # [T, N, k + q, C, H, W]
        return Episode(
            _pixels(images[:, :, : self.k_shot]),
            _labels(n_tasks, self.n_way, self.k_shot),
            _pixels(images[:, :, self.k_shot :]),
            _labels(n_tasks, self.n_way, self.q_query),
        )

    def draw(self, first_index: int, n_tasks: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the images of some episodes as indices in the store [T, N, k + q], and quarter turns [T, N]."""
        drawn, turns = zip(*(self._draw(first_index + task) for task in range(n_tasks)), strict=True)
        return np.stack(drawn), np.stack(turns)

    def _draw(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return an episode's image indices in the store [N, k + q], and each class's quarter turns [N]."""
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        drawn = rng.choice(self.n_classes, self.n_way, replace=False)  # [N], in random order
        turns = np.zeros(self.n_way, dtype=np.int64)
        if self._turned_classes:
            drawn, turns = np.divmod(drawn, 4)
        elif self._turned_episodes:
            turns = rng.integers(4, size=self.n_way)
        classes = self._classes[drawn]
        first, counts = self.store.offsets[classes], np.diff(self.store.offsets)[classes]  # [N]
        keys = rng.random((len(classes), counts.max()))  # sorting random keys draws without replacement
        keys[np.arange(counts.max()) >= counts[:, None]] = 1.0  # positions past the end of a small class sort last
        chosen = keys.argsort(axis=1)[:, : self.k_shot + self.q_query]  # [N, k + q]
        return first[:, None] + chosen, turns

    def _check_supply(self, rotation: str) -> None:
        if self.n_way > self.n_classes:
            raise InputError(
                f"n_way = {self.n_way} is more than the {self.n_classes} classes in the {self.split} split "
                f"of {self.store.name}"
            )
        counts = np.diff(self.store.offsets)[self._classes]
        smallest = int(counts.argmin())
        if self.k_shot + self.q_query > counts[smallest]:
            raise InputError(
                f"k_shot + q_query = {self.k_shot} + {self.q_query} is more than the {counts[smallest]} images of "
                f"class {self.store.class_names[self._classes[smallest]]!r} of {self.store.name}"
            )
        _, height, width = self.image_shape
        if rotation != "none" and height != width:
            raise InputError(
                f"rotation = {rotation!r} needs square images, but those of {self.store.name} are {height}x{width}; "
                "only 'none' is allowed"
            )


# NumPy: torch would split this small work among threads, which wait for each other on a busy processor.
def _pixels(images: NDArray[np.uint8]) -> Tensor:
    pixels = np.divide(images, np.float32(255), dtype=np.float32, order="C")  # [T, N, k, C, H, W]
    return torch.from_numpy(pixels.reshape(len(pixels), -1, *pixels.shape[3:]))  # [T, N * k, C, H, W]


def _labels(n_tasks: int, n_way: int, images: int) -> Tensor:
    return torch.from_numpy(np.tile(np.arange(n_way, dtype=np.int64).repeat(images), (n_tasks, 1)))  # [T, N * images]


def as_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Return images in [0, 1] as uint8 of the same shape, the format of a store."""
    pixels: NDArray[np.uint8] = (images.clamp(0, 1) * 255).round().byte().cpu().numpy()
    return pixels
