"""Train the starts of the live pages: ``python data/build_drawing_starts.py`` (an hour on one core; it resumes).

``drawings-maml`` and ``drawings-mamlpp`` in ``mamlkit/study/stored/starts/`` are MAML and MAML++, 20-way 1-shot, on the
training characters of Omniglot and of glyphs together. Each picture is first traced to strokes and drawn again by the
drawing pad's pen. The script needs Omniglot. An existing start is kept; delete it to train it again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import numpy as np
import torch
from tqdm import tqdm

from mamlkit.core.episodes import EpisodeSampler, ImageStore, as_bytes
from mamlkit.core.errors import InputError
from mamlkit.core.recipes import configure
from mamlkit.core.system.versions import versions
from mamlkit.runs import checkpoints
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.live.pictures import as_drawn, load_characters
from mamlkit.study import stored
from mamlkit.training.evaluation import NORMS, mean_ci95
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import Trainer

SETS = ("omniglot", "glyphs")
RECIPES = {"drawings-maml": "maml", "drawings-mamlpp": "mamlpp"}
BUDGET = dict(n_way=20, k_shot=1, q_query=1, eval_query=1, filters=32, n_tasks=4, rotation="classes", device="cpu")
BUDGET |= dict(epochs=40, iterations_per_epoch=100, val_episodes=60, outer_lr=0.003, ensemble=1, on_nonfinite="skip")
TEST_EPISODES = {5: 600, 20: 200}  # number of episodes by way


def together(stores: list[ImageStore]) -> ImageStore:
    """Return several data sets as one redrawn data set; each class stays in its split."""
    images = [as_drawn(np.asarray(image)) for store in stores for image in tqdm(store.images, f"drawing {store.name}")]
    n_images = np.cumsum([0, *(len(store.images) for store in stores)])
    n_classes = np.cumsum([0, *(len(store.class_names) for store in stores)])
    splits = {
        split: np.concatenate([store.splits[split] + first for store, first in zip(stores, n_classes)])
        for split in stores[0].splits
    }
    return ImageStore(
        name="+".join(store.name for store in stores),
        images=np.stack(images),
        offsets=np.concatenate([[0], *(store.offsets[1:] + first for store, first in zip(stores, n_images))]),
        class_names=tuple(name for store in stores for name in store.class_names),
        splits=splits,
        sha256=" ".join(store.sha256 for store in stores),
    )


def train(name: str, store: ImageStore) -> MetaLearner:
    """Train one start."""
    config = configure(RECIPES[name], dataset="omniglot", **BUDGET)
    trainer = Trainer.from_config(config, store)
    with tqdm(total=config.epochs * config.iterations_per_epoch, desc=name) as bar:
        for record in trainer.epochs(on_iteration=lambda _: bar.update()):
            bar.set_postfix(validation=f"{100 * record.validation.accuracy:.1f} %")
    return trainer.learner


def score(learner: MetaLearner, store: ImageStore, n_way: int) -> dict[str, tuple[float, float]]:
    """Return accuracy and half its 95 % interval by ``norm``, on redrawn test characters, each query by itself."""
    sampler = EpisodeSampler(store, "test", n_way=n_way, k_shot=1, q_query=1, seed=0)
    rights: dict[str, list[torch.Tensor]] = {norm: [] for norm in NORMS}
    for index in tqdm(range(TEST_EPISODES[n_way]), f"{store.name} {n_way}-way", leave=False):
        support, _, query, labels = sampler.episode(index)
        support, query = (torch.stack([redrawn(image) for image in images]) for images in (support, query))
        classifier = Classifier(learner, support)
        for norm, row in rights.items():
            given = classifier.after(classifier.n_steps, query, norm).argmax(-1).cpu()
            row.append((given == labels).double().mean())
    return {norm: mean_ci95(torch.stack(row)) for norm, row in rights.items()}


def redrawn(image: torch.Tensor) -> torch.Tensor:
    """Redraw a picture [1, H, W] in [0, 1] with the pad's pen, as [1, 28, 28]."""
    return torch.from_numpy(as_drawn(as_bytes(image[0])).astype(np.float32) / 255)[None]


def keep(path: Path, learner: MetaLearner, stores: list[ImageStore], trained_with: dict[str, str]) -> None:
    """Evaluate a start and store it."""
    test = {f"{store.name} {n_way}-way": score(learner, store, n_way) for store in stores for n_way in TEST_EPISODES}
    about = {
        "test": test,
        "test_episodes": {f"{n_way}-way": n for n_way, n in TEST_EPISODES.items()},
        "data_sha256": {store.name: store.sha256 for store in stores},
        "versions": trained_with,
        "command": "python data/build_drawing_starts.py",
    }
    checkpoints.save_start(path, learner, about=about, extra={})
    print(path.stem, json.dumps(test))


@click.command(help=__doc__)
def main() -> None:
    """Train the missing starts."""
    torch.set_num_threads(1)
    missing = [name for name in RECIPES if name not in stored.start_names()]
    if not missing:
        print("Both starts exist already.")
        return
    try:
        stores = [load_characters(name) for name in SETS]
    except InputError as error:
        sys.exit(f"Error: {error}")
    both = together(stores)
    for name in missing:
        keep(stored.STARTS / f"{name}.safetensors", train(name, both), stores, versions())


if __name__ == "__main__":
    main()
