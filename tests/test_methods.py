"""Methods: those that the configuration knows are there; one without an inner loop is refused where one is shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from mamlkit.__main__ import main
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.inner_loop import inner_loop
from mamlkit.core.methods import AT_EVALUATION, METHODS, check_inner_loop
from mamlkit.core.networks import MLP
from mamlkit.core.outer_loop import meta_gradient
from mamlkit.core.problem import Problem
from mamlkit.core.recipes import configure
from mamlkit.core.reptile import reptile
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import step_config
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.live.travel import travel
from mamlkit.training.diagnostics import inner_rates, trace_batch
from mamlkit.training.learner import MetaLearner

SHAPE = (1, 16, 16)
SIZES: dict[str, Any] = {"n_way": 2, "filters": 2, "n_tasks": 1, "dtype": "float64"}


def learner(recipe: str, **changes: Any) -> MetaLearner:
    return MetaLearner.from_config(configure(recipe, **SIZES, **changes), SHAPE)


def task() -> Episode:
    rng = torch.Generator().manual_seed(0)
    support, query = (torch.rand(2, *SHAPE, generator=rng, dtype=torch.float64) for _ in range(2))
    return Episode(support, torch.arange(2), query, torch.arange(2))


def batch() -> Episode:
    return Episode(*(field[None] for field in task()))


def test_the_methods_are_those_that_the_configuration_knows() -> None:
    [field] = [field for field in dataclasses.fields(Config) if field.name == "method"]
    assert tuple(METHODS) == tuple(AT_EVALUATION) == field.metadata["choices"]
    assert AT_EVALUATION["reptile"](Config()) is inner_loop


@pytest.mark.parametrize(
    "show",
    [
        lambda start: Classifier(start, task().support_x),
        lambda start: travel(start, task(), grid=3),
        lambda start: trace_batch(start, batch()),
        inner_rates,
    ],
    ids=["classifier", "travel", "trace", "rates"],
)
def test_what_shows_an_inner_loop_refuses_a_start_without_one(show: Any) -> None:
    show(learner("maml"))
    show(learner("reptile", n_steps=2, eval_steps=3))
    with pytest.raises(
        InputError, match=r"^method = 'protonet' has no inner loop, and .* shows one; 'maml' is allowed$"
    ):
        show(learner("protonet"))


@pytest.mark.parametrize("show", [lambda start: travel(start, task(), grid=3), inner_rates], ids=["travel", "rates"])
def test_what_shows_a_rate_for_each_step_refuses_one_for_each_number(show: Any) -> None:
    with pytest.raises(InputError, match=r"^inner_lr_per = 'number' .*; 'tensor' is allowed$"):
        show(learner("meta-sgd"))


def test_less_memory_is_refused_for_what_has_no_derivative_through_the_inner_loop() -> None:
    start = learner("reptile")
    settings = {"step": step_config(start.config, 0), "method": reptile}
    with pytest.raises(InputError, match="low_memory has no meaning for the method reptile"):
        meta_gradient(start.problem, start.meta, start.buffers, batch(), low_memory=True, **settings)


def test_a_start_of_maml_passes_the_check() -> None:
    check_inner_loop(Config(), "this page")


def test_a_start_with_a_rate_for_each_number_serves_fewer_classes() -> None:
    start = MetaLearner.from_config(configure("meta-sgd", **{**SIZES, "n_way": 3}, n_steps=2), SHAPE)
    classifier = Classifier(start, task().support_x)
    assert classifier.probabilities(task().query_x).shape == (2, 3, 2)


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [("protonet", ""), ("reptile", "--n-steps 2 --eval-steps 3"), ("meta-sgd", "--n-steps 2")],
)
def test_a_baseline_is_trained_resumed_and_evaluated_from_the_command_line(
    recipe: str, steps: str, tmp_path: Path
) -> None:
    def call(*arguments: object) -> str:
        outcome = CliRunner().invoke(main, [str(each) for each in arguments])
        assert outcome.exit_code == 0, outcome.output
        return outcome.output

    sizes = "--filters 3 --n-way 2 --q-query 2 --eval-query 1 --n-tasks 2 --iterations-per-epoch 2"
    rest = "--epochs 2 --val-episodes 2 --test-episodes 2 --ensemble 1"
    run = tmp_path / "run"
    call("train", "--recipe", recipe, *sizes.split(), *rest.split(), *steps.split(), "--out", run)
    tested = json.loads((run / "result.json").read_text("utf-8"))
    (run / "result.json").unlink()
    call("train", "--resume", run)
    assert json.loads((run / "result.json").read_text("utf-8"))["evaluations"] == tested["evaluations"]
    report = json.loads(call("evaluate", run, "--json"))
    assert report["evaluations"] == tested["evaluations"]
    assert set(report["evaluations"]) == {"batch", "running"}


@pytest.mark.parametrize(
    ("recipe", "rule", "sentence"),
    [
        (
            "reptile",
            SGD(0.1, 20, learn=True),
            "learns inner_lrs, which has no meaning for method = 'reptile'; a rule without ",
        ),
        (
            "protonet",
            SGD(0.3, 1),
            "has no meaning for method = 'protonet', which has no inner loop; rule = None is allowed$",
        ),
    ],
)
def test_a_rule_without_an_effect_on_the_method_is_refused(recipe: str, rule: SGD, sentence: str) -> None:
    with pytest.raises(InputError, match=rf"^the rule SGD\(.*\) {sentence}"):
        MetaLearner(Problem(MLP(256, 2), rule=rule), configure(recipe, **SIZES))
    MetaLearner(Problem(MLP(256, 2), rule=SGD(0.1, 20)), configure("reptile", **SIZES))
