"""Train the starts of the live pages: ``python data/build_drawing_starts.py`` (half an hour on one core).

``mamlkit/stored/starts/drawings-*.npz``: MAML and MAML++, 20-way 1-shot, on the training characters of Omniglot and of
glyphs together. Each picture is first traced to strokes and drawn again the way of the drawing pad. Needs Omniglot.
A start that is there already is left alone; delete it to train it anew.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import click
import numpy as np
import torch
from tqdm import tqdm

from mamlkit import checkpoints, stored
from mamlkit.datasets import load
from mamlkit.drawings import rasterise
from mamlkit.drawings.tracing import trace
from mamlkit.episodes import EpisodeSampler, ImageStore
from mamlkit.errors import InputError
from mamlkit.evaluation import mean_ci95
from mamlkit.experiments import configure
from mamlkit.learner import MetaLearner
from mamlkit.live.classifier import Classifier
from mamlkit.trainer import Trainer
from mamlkit.versions import versions

SETS = ("omniglot", "glyphs")
TRACED_AT = 105  # pixels, as Omniglot's originals
BUDGET = dict(n_way=20, k_shot=1, q_query=1, eval_query=1, filters=32, n_tasks=4, rotation="classes", device="cpu")
BUDGET |= dict(epochs=40, iterations_per_epoch=100, val_episodes=60, outer_lr=0.003, ensemble=1, on_nonfinite="skip")
RECIPES = {"drawings-maml": "maml", "drawings-mamlpp": "mamlpp"}
TEST_EPISODES = 600


def as_drawn(store: ImageStore) -> ImageStore:
    """Return a data set whose pictures were traced, and drawn again by the pad's pen."""
    images = [rasterise(trace(np.asarray(image))) for image in tqdm(store.images, f"tracing {store.name}")]
    return replace(store, images=np.stack(images))


def together(stores: list[ImageStore]) -> ImageStore:
    """Return several data sets as one; each class stays in its split."""
    n_images = np.cumsum([0, *(len(store.images) for store in stores)])
    n_classes = np.cumsum([0, *(len(store.class_names) for store in stores)])
    splits = {
        split: np.concatenate([store.splits[split] + first for store, first in zip(stores, n_classes)])
        for split in stores[0].splits
    }
    return ImageStore(
        name="+".join(store.name for store in stores),
        images=np.concatenate([store.images for store in stores]),
        offsets=np.concatenate([[0], *(store.offsets[1:] + first for store, first in zip(stores, n_images))]),
        class_names=tuple(name for store in stores for name in store.class_names),
        splits=splits,
        sha256=" ".join(store.sha256 for store in stores),
    )


def score(learner: MetaLearner, store: ImageStore, n_way: int, episodes: int) -> dict[str, list[float]]:
    """Return (mean, half width of the 95 % interval) of the accuracy by normalisation, each query on its own."""
    sampler = EpisodeSampler(store, "test", n_way=n_way, k_shot=1, q_query=1, seed=0)
    rights: dict[str, list[torch.Tensor]] = {"batch": [], "running": []}
    for index in range(episodes):
        episode = sampler.episode(index)
        classifier = Classifier(learner, episode.support_x)
        for norm, row in rights.items():
            given = classifier.probabilities(episode.query_x, norm)[:, -1].argmax(-1)
            row.append((given == episode.query_y).double().mean())
    return {norm: list(mean_ci95(torch.stack(row))) for norm, row in rights.items()}


def train(name: str, both: ImageStore, sets: dict[str, ImageStore]) -> None:
    """Train one start and keep it with what it scores."""
    config = configure(RECIPES[name], dataset="omniglot", **BUDGET)
    trainer = Trainer.from_config(config, both)
    with tqdm(total=config.epochs * config.iterations_per_epoch, desc=name) as bar:
        for record in trainer.epochs(on_iteration=lambda _: bar.update()):
            bar.set_postfix(validation=f"{100 * record.validation.accuracy:.1f} %")
    scores: dict[str, Any] = {}
    for data, store in sets.items():
        for n_way in (5, 20):
            scores[f"{data} {n_way}-way"] = score(trainer.learner, store, n_way, TEST_EPISODES)
            print(name, data, n_way, scores[f"{data} {n_way}-way"], flush=True)
    about = {"test": scores, "test_episodes": TEST_EPISODES, "data_sha256": both.sha256, "versions": versions()}
    command = "python data/build_drawing_starts.py"
    checkpoints.save_start(
        stored.STARTS / f"{name}.npz", trainer.learner, about={**about, "command": command}, extra={}
    )


@click.command(help=__doc__)
def main() -> None:
    """Train what is missing."""
    torch.set_num_threads(1)
    missing = [name for name in RECIPES if not (stored.STARTS / f"{name}.npz").exists()]
    if not missing:
        print("Both starts are there.")
        return
    try:
        sets = {name: as_drawn(load(name, image_size=TRACED_AT)) for name in SETS}
    except InputError as error:
        sys.exit(f"Error: {error}")
    both = together([sets[name] for name in SETS])
    for name in missing:
        train(name, both, sets)


if __name__ == "__main__":
    main()
