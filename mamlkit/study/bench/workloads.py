"""The meta-iterations that are timed: Conv4 with 64 filters (W0: 8) on 28x28 glyphs, five inner steps."""

from __future__ import annotations

from typing import Any, NamedTuple

from mamlkit.core.config import Config
from mamlkit.core.errors import check_choice
from mamlkit.core.recipes import configure

ENGINES = ("naive", "eager", "vmap", "compiled")
EPOCH = 0  # at this epoch the multi-step loss weighs all steps equally

SIZES: dict[str, Any] = {
    "dataset": "glyphs",
    "image_size": 28,
    "backbone": "conv4",
    "filters": 64,
    "n_steps": 5,
    "inner_lr": 0.1,
    "device": "cpu",
}


class Work(NamedTuple):
    """A meta-iteration: its name, its description and its configuration."""

    name: str
    words: str
    config: Config

    @property
    def title(self) -> str:
        """Name, episodes and description in one line."""
        c = self.config
        queries = "1 query" if c.q_query == 1 else f"{c.q_query} queries"
        return f"{self.name}: {c.n_way}-way {c.k_shot}-shot, {queries} per class, {c.n_tasks} tasks; {self.words}"


def _work(name: str, recipe: str, words: str, sizes: tuple[int, int, int, int], **changes: Any) -> Work:
    episodes = dict(zip(("n_way", "k_shot", "q_query", "n_tasks"), sizes))
    return Work(name, words, configure(recipe, **SIZES | episodes | changes))


WORKLOADS = {
    work.name: work
    for work in (
        _work("W1", "maml", "plain MAML", (5, 1, 1, 8)),
        _work("W2", "maml", "plain MAML", (20, 1, 1, 8)),
        _work("W3", "mamlpp-authors", "MAML++", (20, 1, 1, 8)),
        _work("W4", "fomaml", "first-order MAML", (20, 1, 1, 8)),
        _work("W5", "maml", "plain MAML", (5, 5, 15, 4)),
        _work("W0", "maml", "plain MAML, 8 filters", (5, 1, 1, 4), filters=8),
    )
}


def choose(names: str) -> list[Work]:
    """Return the works named in a comma-separated list, in its order and without repetitions.

    Raises:
        InputError: a name is unknown.

    >>> [work.name for work in choose("W2,W1,W2")]
    ['W2', 'W1']
    """
    chosen = dict.fromkeys(name.strip() for name in names.split(","))
    for name in chosen:
        check_choice("work", name, tuple(WORKLOADS))
    return [WORKLOADS[name] for name in chosen]
