"""Test the drawings of a class: one-shot episodes of its own alphabet, the accuracy of each method, and confusions.

Axis letters: ``D`` drawers, ``A`` characters, ``E`` episodes, ``K`` inner steps, ``N`` classes of an episode,
``Q`` query pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mamlkit.core.episodes import Episode, EpisodeSampler, ImageStore, as_bytes
from mamlkit.core.errors import InputError
from mamlkit.datasets import load
from mamlkit.datasets.drawings import Sheet, rasterise
from mamlkit.datasets.drawings.strokes import SIDE
from mamlkit.datasets.wall import find_copies, read_sheets
from mamlkit.show.live.classifier import NEAREST, Classifier, nearest
from mamlkit.show.live.pictures import as_drawing
from mamlkit.training.evaluation import mean_ci95
from mamlkit.training.learner import MetaLearner

DRAWERS, CHARACTERS = 12, 10  # of the invented class


class Wall(NamedTuple):
    """The drawings of a class.

    Attributes:
        sheets: name of the drawer -> sheet.
        store: the drawings as a data set.
        sampler: one-shot episodes of the data set, with one query picture for each class.
        lonely: the characters that only one person has drawn; they are in no episode.
        copies: the drawings that are left out because an earlier sheet contains them, as ``"'5' of bob"``.
    """

    sheets: Mapping[str, Sheet]
    store: ImageStore
    sampler: EpisodeSampler
    lonely: tuple[str, ...]
    copies: tuple[str, ...]

    def contact_sheet(self) -> NDArray[np.uint8]:
        """Return all drawings as one picture [D * 28, A * 28], ink 0 on 255; a missing drawing is gray."""
        blank = np.full((SIDE, SIDE), 40, dtype=np.uint8)
        tiles = [
            [rasterise(sheet.classes[name]) if name in sheet.classes else blank for name in self.store.class_names]
            for sheet in self.sheets.values()
        ]
        return 255 - np.block(tiles)


class Confusion(NamedTuple):
    """The number of times that one character was taken for another.

    Attributes:
        true: the right character.
        given: the character in the answer.
        asked: the number of questions about ``true`` in which ``given`` was a possible answer.
        times: method -> the number of these questions that it answered with ``given``.
    """

    true: str
    given: str
    asked: int
    times: dict[str, int]


class Answers(NamedTuple):
    """The answers of all methods to the same episodes.

    Attributes:
        episodes: the episodes.
        names: the class names of each episode, [E][N].
        labels: method -> [K + 1, E, Q] predicted labels after 0..K inner steps; nearest neighbour makes no step.
    """

    episodes: tuple[Episode, ...]
    names: tuple[tuple[str, ...], ...]
    labels: dict[str, NDArray[np.int64]]

    def accuracy(self, method: str) -> tuple[float, float]:
        """Return the mean accuracy after the last step and half the width of its 95 % interval over the episodes."""
        truth = np.stack([episode.query_y.numpy() for episode in self.episodes])  # [E, Q]
        return mean_ci95(torch.from_numpy((self.labels[method][-1] == truth).mean(1)))

    def confusions(self) -> list[Confusion]:
        """Return the confused pairs after the last step, the most frequent over all methods first."""
        asked: Counter[tuple[str, str]] = Counter()
        wrong: dict[str, Counter[tuple[str, str]]] = {method: Counter() for method in self.labels}
        for number, (episode, names) in enumerate(zip(self.episodes, self.names)):
            for query, true in enumerate(episode.query_y.tolist()):
                asked.update((names[true], name) for name in names if name != names[true])
                for method, table in self.labels.items():
                    given = int(table[-1, number, query])
                    if given != true:
                        wrong[method][names[true], names[given]] += 1
        total = sum(wrong.values(), Counter[tuple[str, str]]())
        order = sorted(total, key=lambda pair: (-total[pair], pair))
        return [Confusion(*pair, asked[pair], {m: counts[pair] for m, counts in wrong.items()}) for pair in order]


def open_wall(path: str, *, n_way: int, seed: int) -> Wall:
    """Open a folder of sheets for a test.

    Args:
        path: the folder.
        n_way: N; if there are fewer characters, all of them are used.
        seed: seed of the episodes.

    Raises:
        InputError: the folder is invalid, see ``mamlkit.datasets.wall``; or fewer than 2 characters have two drawings.
    """
    store = load("wall", path=path)
    drawings = np.diff(store.offsets)
    shared = np.flatnonzero(drawings > 1)
    if len(shared) < 2:
        raise InputError(
            f"the sheets in {path} share {len(shared)} characters; 2 or more, each drawn twice, are needed"
        )
    store = replace(store, splits={**store.splits, "test": shared})
    sampler = EpisodeSampler(store, "test", n_way=min(n_way, len(shared)), k_shot=1, q_query=1, seed=seed)
    lonely = tuple(store.class_names[c] for c in np.flatnonzero(drawings == 1))
    return Wall(read_sheets(path), store, sampler, lonely, find_copies(path))


def answer(
    wall: Wall,
    starts: Mapping[str, MetaLearner],
    *,
    episodes: int,
    on_episode: Callable[[int], Any] | None = None,
) -> Answers:
    """Adapt each start to each episode, and compare pixels for nearest neighbour.

    Each answer is independent of the other query pictures: a query is normalised together with the N examples only.

    Args:
        wall: the drawings of the class.
        starts: method -> a start for at least N classes, all with K steps; at least one start.
        episodes: E episodes, at least 1.
        on_episode: called after each episode with the number of finished episodes, for a progress bar.

    Raises:
        InputError: a start has fewer than N classes.

    Source: the one-shot tasks of section 4.1 of the paper.
    """
    drawn, names, alike = [], [], []
    given: dict[str, list[NDArray[np.int64]]] = {method: [] for method in starts}  # E of [Q, K + 1]
    for index in range(episodes):
        episode = wall.sampler.episode(index)
        drawn.append(episode)
        names.append(wall.sampler.class_names(index))
        for method, start in starts.items():
            shares = Classifier(start, episode.support_x).probabilities(episode.query_x)  # [Q, K + 1, N]
            given[method].append(shares.argmax(-1).cpu().numpy())
        support, queries = as_bytes(episode.support_x[:, 0]), as_bytes(episode.query_x[:, 0])
        alike.append([nearest(support, query) for query in queries])
        if on_episode is not None:
            on_episode(index + 1)
    labels = {method: np.stack(tables).transpose(2, 0, 1) for method, tables in given.items()}  # -> [K + 1, E, Q]
    shape = next(iter(labels.values())).shape
    return Answers(tuple(drawn), tuple(names), {**labels, NEAREST: np.broadcast_to(np.array(alike), shape)})


def write_sample(folder: Path, *, seed: int) -> None:
    """Write the sheets of an invented class: pictures of ten test characters of glyphs, traced to strokes.

    The drawers have no style of their own: student 3 has the third picture of each character.

    Args:
        folder: an existing folder; twelve sheets, one for each student, are written to it.
        seed: selects the characters.

    Writes: the sheets.
    """
    glyphs = load("glyphs")
    chosen = np.random.default_rng(seed).choice(glyphs.splits["test"], CHARACTERS, replace=False)
    for number in range(DRAWERS):
        classes = {}
        for label in chosen:
            code = glyphs.class_names[label].split("U+")[1].split()[0]
            classes[chr(int(code, 16))] = as_drawing(glyphs.class_images(label)[number])
        (folder / f"student-{number + 1:02}.json").write_text(Sheet(classes).to_json(), "utf-8")
