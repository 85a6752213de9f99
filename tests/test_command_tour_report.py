"""What the page of the tour says where training went wrong, and that its captions are the numbers."""

from __future__ import annotations

import math
import re

import pytest

from mamlkit.commands.tour_report import Side, page
from mamlkit.core.recipes import configure
from mamlkit.datasets import ImageStore
from mamlkit.training.evaluation import Evaluation
from mamlkit.training.history import EpochRecord, Iteration
from mamlkit.training.trainer import Trainer, make_sampler

SIZES = {"n_way": 2, "filters": 3, "n_steps": 2, "n_tasks": 1, "q_query": 1, "eval_query": 1, "epochs": 1}


def side(name: str, recipe: str, store: ImageStore, norms: tuple[float, ...]) -> Side:
    made = Side(name, Trainer.from_config(configure(recipe, **SIZES), store))
    iterations = tuple(
        Iteration(i, 0.5, 0.75, norm, (norm, norm / 10), i > 1, 1e-3, math.isfinite(norm))
        for i, norm in enumerate(norms, 1)
    )
    made.trainer.history = [EpochRecord(1, iterations, Evaluation(0.8, 0.1, 0.5, 4, "batch"), 12.4)]
    made.evaluations = {norm: Evaluation(0.9, 0.05, 0.4, 7, norm) for norm in ("batch", "running")}
    return made


@pytest.fixture(scope="module")
def html(glyphs: ImageStore) -> str:
    sides = [side("MAML", "maml", glyphs, (1.0, math.inf, 21.0)), side("MAML++", "mamlpp", glyphs, (math.nan,) * 3)]
    sides[1].trainer.learner.inner_lrs[0, 1] = -0.125
    return page(sides, make_sampler(glyphs, sides[0].config, "test"), {"seed": 0, "n_way": 2})


def test_a_row_counts_what_was_not_finite_and_takes_the_range_of_the_rest(html: str) -> None:
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(<td>.*?)</tr>", html)]
    assert rows[0] == ["MAML", "90.00 ± 5.00", "90.00 ± 5.00", "12", "1 to 21", "1"]
    assert rows[1][4:] == ["never finite", "3"]


def test_the_captions_give_the_numbers_of_the_pictures(html: str) -> None:
    assert "At the end: MAML 80.0 %, MAML++ 80.0 %." in html
    assert "from the first step to the last: MAML 11 to 1.1; MAML++ never finite" in html
    assert "now span -0.125 (convs.0.weight, step 1) to 0.100" in html
    assert "The first 1 iterations of MAML++ are first-order." in html
    assert "over 7 test episodes" in html


def test_the_footer_names_the_options_and_the_data(html: str, glyphs: ImageStore) -> None:
    assert f"Made by: mamlkit tour --seed 0 --n-way 2. SHA-256 of the data: {glyphs.sha256}." in html
