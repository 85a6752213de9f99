"""The paper's numbers: each has a source, none is remembered only, and the budget is section 4.2's."""

from __future__ import annotations

import doctest

import pytest

from mamlkit.study.reproduction import paper
from mamlkit.study.reproduction.tables import SCALES

# What is remembered of the ablation and of other steps, and could not be checked, must not stand there as a fact.
UNCHECKED = {91.27, 98.78, 91.53, 95.77, 95.35, 93.03, 92.3, 48.25, 64.39, 51.49, 51.11, 51.65}


def test_every_number_says_how_well_it_is_established() -> None:
    for row in paper.PAPER:
        assert row.source.split("; ")[0] in (paper.TEXT, paper.QUOTED), row
        assert row.method in paper.MEANS, row
        assert 40 < row.accuracy < 100, row
    assert {row.accuracy for row in paper.PAPER} & UNCHECKED == set()


def test_every_task_of_the_paper_has_both_methods() -> None:
    tasks = {(row.dataset, row.n_way, row.k_shot) for row in paper.PAPER}
    assert len(tasks) == 6
    for task in tasks:
        assert {row.method for row in paper.numbers(*task)} == {"MAML", "MAML++"}


def test_text_and_table_contradict_each_other_and_both_are_kept() -> None:
    found = {row.source: row.accuracy for row in paper.numbers("omniglot", 20, 1) if row.method == "MAML++"}
    assert found == {paper.TEXT: 97.76, paper.QUOTED: 97.65}


def test_one_inner_step_has_its_own_number() -> None:
    steps = {row.n_steps: row.accuracy for row in paper.numbers("mini-imagenet", 5, 1) if row.method == "MAML++"}
    assert steps == {1: 51.05, 5: 52.15}


def test_a_task_that_the_paper_lacks_has_no_number() -> None:
    assert paper.numbers("glyphs", 5, 1) == []


@pytest.mark.parametrize(
    ("dataset", "k_shot", "tasks"),
    [("omniglot", 1, 16), ("omniglot", 5, 16), ("mini-imagenet", 1, 4), ("mini-imagenet", 5, 2), ("glyphs", 1, 16)],
)
def test_the_paper_trains_on_75000_meta_batches(dataset: str, k_shot: int, tasks: int) -> None:
    assert paper.training_tasks(dataset, k_shot) == 75_000 * tasks


def test_the_scale_paper_has_the_budget_of_the_paper() -> None:
    scale = SCALES["paper"]
    assert (scale["epochs"], scale["iterations_per_epoch"]) == (paper.EPOCHS, paper.ITERATIONS_PER_EPOCH)
    assert scale["n_tasks"] == paper.TASKS["omniglot", 1]


def test_the_examples_hold() -> None:
    result = doctest.testmod(paper)
    assert (result.attempted, result.failed) == (2, 0)
