"""What a run hands on: the headline that its configuration names, with all that is needed to get it again."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mamlkit.core.config import Config
from mamlkit.core.system.versions import versions
from mamlkit.runs.folder import RunFolder
from mamlkit.runs.results import result
from mamlkit.training.evaluation import Evaluation
from mamlkit.training.history import EpochRecord, Iteration

PROMISED = {
    "dataset", "recipe", "n_way", "k_shot", "accuracy", "ci95", "episodes", "seeds", "iterations", "minutes", "config",
    "versions", "data_sha256", "command",
}  # fmt: skip
ABOUT = {"recipe": "mamlpp", "command": "mamlkit train", "versions": versions(), "data_sha256": "ab" * 32}
EVALUATIONS = {"batch": Evaluation(0.9, 0.02, 0.3, 40, "batch"), "running": Evaluation(0.4, 0.03, 2.0, 40, "running")}


def history() -> list[EpochRecord]:
    def iteration(number: int, norm: float) -> Iteration:
        return Iteration(number, 1.0 / number, 0.5, norm, (1.0,), True, 1e-3, math.isfinite(norm))

    rows = [(iteration(1, 3.0), iteration(2, math.inf), iteration(3, 5.0)), (iteration(4, math.nan),) * 3]
    accuracies = (0.8, 0.7)
    return [
        EpochRecord(i, row, Evaluation(accuracy, 0.05, 0.6, 10, "batch"), 90.0)
        for i, (row, accuracy) in enumerate(zip(rows, accuracies), 1)
    ]


@pytest.fixture(params=["batch", "running"])
def made(request: pytest.FixtureRequest) -> dict[str, object]:
    folder = RunFolder(Path("run"), Config(norm_eval=request.param, seed=7, n_way=3), ABOUT)
    return result(folder, history(), EVALUATIONS, tested_epochs=[1], test_seconds=30.0)


def test_everything_promised_is_there(made: dict[str, object]) -> None:
    assert made.keys() >= PROMISED
    assert (made["dataset"], made["recipe"], made["n_way"], made["k_shot"]) == ("glyphs", "mamlpp", 3, 1)
    assert (made["seeds"], made["episodes"], made["iterations"]) == ([7], 40, 6)
    assert made["minutes"] == 3.5  # two epochs of 90 s, and 30 s of test
    assert {key: made[key] for key in ("command", "versions", "data_sha256")} == {
        key: ABOUT[key] for key in ("command", "versions", "data_sha256")
    }


def test_the_headline_is_the_normalisation_that_the_configuration_names(made: dict[str, object]) -> None:
    headline = EVALUATIONS[made["config"]["norm_eval"]]
    assert (made["accuracy"], made["ci95"]) == (headline.accuracy, headline.ci95)
    assert made["evaluations"]["running"]["accuracy"] == 0.4


def test_the_curves_have_one_value_an_epoch_and_leave_out_what_was_not_finite(made: dict[str, object]) -> None:
    curves = made["curves"]
    assert curves["iteration"] == [3, 4]
    assert curves["minutes"] == [1.5, 3.0]
    assert curves["val_accuracy"] == [0.8, 0.7]
    assert curves["grad_norm_median"] == [5.0, None]
    assert curves["grad_norm_max"] == [5.0, None]
    assert curves["train_loss"][0] == pytest.approx((1 + 1 / 3) / 2, rel=1e-15)  # not rounded
    assert made["nonfinite"] == 1 + 3
    assert made["tested_epochs"] == [1]
