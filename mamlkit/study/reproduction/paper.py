"""The established numbers of the paper, each with its source, and their training budget.

A number is included if it is in the paper's text, or if others quote it with the same value. The body of the paper's
ablation table is not included: it could not be verified against a second source.
"""

from __future__ import annotations

from typing import NamedTuple

TEXT, QUOTED = "text of the paper", "quoted by others"
MEANS = {"MAML": "interval over tasks", "MAML++": "standard deviation over 3 seeds"}  # number after the +-

EPOCHS, ITERATIONS_PER_EPOCH = 150, 500  # section 4.2
TASKS = {("omniglot", 1): 16, ("omniglot", 5): 16, ("mini-imagenet", 1): 4, ("mini-imagenet", 5): 2}  # in a meta-batch


class Row(NamedTuple):
    """One number of the paper.

    Attributes:
        dataset, n_way, k_shot: the task.
        method: ``"MAML"``, from the original MAML paper, or ``"MAML++"``.
        n_steps: inner steps, if known.
        accuracy: %.
        after: the number after the +-, %, if known; ``MEANS`` gives its meaning.
        source: the kind of source.
    """

    dataset: str
    n_way: int
    k_shot: int
    method: str
    n_steps: int | None
    accuracy: float
    after: float | None
    source: str


PAPER = (
    Row("omniglot", 5, 1, "MAML", None, 98.7, 0.4, QUOTED),
    Row("omniglot", 5, 1, "MAML++", None, 99.47, None, TEXT),
    Row("omniglot", 5, 5, "MAML", None, 99.9, 0.1, QUOTED),
    Row("omniglot", 5, 5, "MAML++", None, 99.93, None, QUOTED),  # others quote two different values
    Row("omniglot", 5, 5, "MAML++", None, 99.85, None, QUOTED),
    Row("omniglot", 20, 1, "MAML", None, 95.8, 0.3, QUOTED),
    Row("omniglot", 20, 1, "MAML++", None, 97.76, None, TEXT),
    Row("omniglot", 20, 1, "MAML++", None, 97.65, None, QUOTED),  # from the paper's table; its text gives another value
    Row("omniglot", 20, 5, "MAML", None, 98.9, 0.2, QUOTED),
    Row("omniglot", 20, 5, "MAML++", None, 99.33, None, TEXT),
    Row("mini-imagenet", 5, 1, "MAML", None, 48.70, 1.84, QUOTED),
    Row("mini-imagenet", 5, 1, "MAML++", 1, 51.05, None, TEXT),
    Row("mini-imagenet", 5, 1, "MAML++", 5, 52.15, 0.26, f"{TEXT}; +- {QUOTED}"),
    Row("mini-imagenet", 5, 5, "MAML", None, 63.11, 0.92, QUOTED),
    Row("mini-imagenet", 5, 5, "MAML++", 5, 68.32, 0.44, f"{TEXT}; +- {QUOTED}"),
)


def numbers(dataset: str, n_way: int, k_shot: int) -> list[Row]:
    """Return the paper's numbers for a task.

    >>> [row.accuracy for row in numbers("mini-imagenet", 5, 1)]
    [48.7, 51.05, 52.15]
    """
    return [row for row in PAPER if (row.dataset, row.n_way, row.k_shot) == (dataset, n_way, k_shot)]


def training_tasks(dataset: str, k_shot: int) -> int:
    """Return the number of training tasks in the paper; a data set that the paper lacks counts as Omniglot.

    Source: section 4.2.

    >>> training_tasks("omniglot", 1)
    1200000
    """
    return EPOCHS * ITERATIONS_PER_EPOCH * TASKS.get((dataset, k_shot), TASKS["omniglot", 1])
