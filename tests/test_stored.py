"""What ships trained: every run of ``data/build_stored.py`` is there, says what it should, and the starts load."""

from __future__ import annotations

import doctest
import itertools
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scripts import load_script

from mamlkit import InputError
from mamlkit.core.episodes import EpisodeSampler, as_bytes
from mamlkit.core.recipes import configure
from mamlkit.datasets.drawings import Sheet, read_sheet
from mamlkit.runs.configurations import read_config
from mamlkit.show.live.pictures import as_drawing
from mamlkit.show.widgets import DrawingPad
from mamlkit.study import stored
from mamlkit.training.evaluation import evaluate
from mamlkit.training.trainer import make_sampler

DATA = Path(__file__).parents[1] / "data"
STARTS = ("maml", "mamlpp")
DRAWINGS = ("drawings-maml", "drawings-mamlpp")
FIXES = ("bn", "ca", "da", "lslr", "msl")


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """data/build_stored.py as a module."""
    return load_script(DATA / "build_stored.py")


def test_the_examples_in_the_docstrings_are_right() -> None:
    result = doctest.testmod(stored)
    assert result.attempted >= 1
    assert result.failed == 0


def test_every_job_of_the_builder_was_run_once_and_in_its_order(builder: ModuleType) -> None:
    jobs = [json.dumps([group, list(fixes), changes, seed]) for group, fixes, changes, seed in builder.jobs()]
    assert [builder.key(run) for run in stored.runs()] == jobs


def test_the_switchboard_has_all_32_combinations_with_three_seeds_each() -> None:
    combinations = [list(on) for n in range(6) for on in itertools.combinations(FIXES, n)]
    assert len(combinations) == 32
    for on in combinations:
        assert [run["seed"] for run in stored.runs(group="switchboard", fixes=on, changes={})] == [0, 1, 2]
    assert len(stored.runs(group="switchboard")) == 96


def test_runs_are_filtered_by_every_wanted_value() -> None:
    found = stored.runs(group="rates", seed=1, changes={"inner_lr": 0.3})
    assert sorted(run["fixes"] for run in found) == [[], ["lslr"]]
    assert stored.runs(group="none such") == []


def test_the_numbers_of_every_run_are_possible() -> None:
    epochs = stored.base_config().epochs
    for run in stored.runs():
        assert len(run["val"]) == len(run["val_ci95"]) == len(run["grad_norm"]) == epochs
        assert all(0 <= accuracy <= 1 for accuracy in (*run["val"], run["test"], run["running"]))
        assert all(0 < half < 0.2 for half in (*run["val_ci95"], run["test_ci95"], run["running_ci95"]))
        assert 0 <= run["nonfinite"] <= epochs * stored.base_config().iterations_per_epoch


def test_what_the_runs_share_is_what_the_builder_says(builder: ModuleType) -> None:
    assert stored.base_config() == builder.BASE
    about = stored.about_runs()
    assert about["episodes"] == builder.TEST_EPISODES
    assert about["command"] == "python data/build_stored.py"
    assert {"torch", "numpy", "mamlkit"} <= about["versions"].keys()


def test_the_starts_are_those_of_the_builder(builder: ModuleType) -> None:
    assert tuple(sorted(builder.STARTS)) == STARTS
    assert stored.start_names() == DRAWINGS + STARTS
    for name, (fixes, changes) in builder.STARTS.items():
        config = builder.replace(builder.config_of(fixes, changes, 0), **builder.START_BUDGET)
        assert stored.start(name).config == config


def test_the_starts_for_drawings_are_those_of_their_builder() -> None:
    builder = load_script(DATA / "build_drawing_starts.py")
    assert tuple(builder.RECIPES) == DRAWINGS
    for name, recipe in builder.RECIPES.items():
        assert stored.start(name).config == configure(recipe, dataset="omniglot", **builder.BUDGET)


def test_what_is_trained_is_small_and_holds_no_code() -> None:
    files = list(stored.STARTS.iterdir())
    assert {path.suffix for path in files} == {".npz"}
    assert sum(path.stat().st_size for path in files) < 600_000
    for path in files:
        with np.load(path, allow_pickle=False) as archive:  # refuses what would have to be executed
            assert all(archive[name].dtype.kind in "fiuU" for name in archive.files)


@pytest.mark.parametrize("name", STARTS + DRAWINGS)
def test_a_start_loads_in_both_precisions_with_the_same_numbers(name: str) -> None:
    single, double = (stored.start(name, dtype=dtype) for dtype in ("float32", "float64"))
    assert single.inner_lrs.dtype == torch.float32
    assert double.inner_lrs.dtype == torch.float64
    for tensor, value in single.params.items():
        assert torch.equal(value.double(), double.params[tensor])
        assert torch.isfinite(value).all()
    filters = 32 if name in DRAWINGS else 16
    assert double.params["convs.3.weight"].shape == (filters, filters, 3, 3)


@pytest.mark.parametrize("name", STARTS)
def test_a_start_adapts_to_new_classes(name: str, glyphs) -> None:
    learner = stored.start(name)
    test = make_sampler(glyphs, learner.config, "test")
    assert evaluate([learner], test, 8).accuracy > 0.6  # guessing is 0.2


@pytest.mark.parametrize("name", STARTS)
def test_a_rate_history_begins_at_the_configured_rate_and_ends_at_the_learners(name: str) -> None:
    learner, history = stored.start(name), stored.rate_history(name)
    assert history.shape == (learner.config.epochs + 1, len(learner.rows), learner.config.n_steps)
    assert np.allclose(history[0], learner.config.inner_lr)
    assert np.array_equal(history[-1], learner.inner_lrs.numpy())
    moved = np.abs(history[-1] - history[0]).max() > 0.01
    assert moved == learner.config.learn_inner_lrs


def test_a_start_without_a_rate_history_says_so() -> None:
    with pytest.raises(InputError, match=r"^start 'drawings-maml' has no stored inner rates$"):
        stored.rate_history("drawings-maml")


def test_an_unknown_start_is_refused_with_the_nearest_name() -> None:
    for ask in (stored.start, stored.rate_history):
        with pytest.raises(InputError, match=r"start = 'mamlp' is unknown \(did you mean 'maml(pp)?'\?\)"):
            ask("mamlp")


@pytest.mark.long
def test_on_omniglots_test_characters_the_pad_with_the_mamlpp_start_is_right_in_95_of_100(omniglot_105) -> None:
    pad = DrawingPad({"MAML++": stored.start("drawings-mamlpp")})
    sampler = EpisodeSampler(omniglot_105, "test", n_way=5, k_shot=1, q_query=1, seed=0)
    rights = []
    for episode in map(sampler.episode, range(200)):
        support, queries = ([as_drawing(as_bytes(x[0])) for x in images] for images in episode[::2])
        classes = {str(label): drawing for label, drawing in enumerate(support)}
        for label, query in enumerate(queries):
            sheet = read_sheet(Sheet(classes, query).to_json(), "it")
            rights.append(pad.answer(sheet, "MAML++")[0][-1].argmax() == label)
    assert np.mean(rights) >= 0.95


@pytest.fixture(scope="module")
def comparer() -> ModuleType:
    """data/build_extend.py as a module."""
    return load_script(DATA / "build_extend.py")


def test_the_comparison_has_every_variant_with_every_seed_in_the_order_of_its_builder(comparer: ModuleType) -> None:
    found = stored.comparison()
    seeds = {run["seed"] for run in found}
    assert seeds >= {0, 1, 2}
    assert [comparer.key(run) for run in found] == [json.dumps(job) for job in comparer.jobs(len(seeds))]


def test_the_comparison_says_its_budget_its_versions_and_its_command(comparer: ModuleType) -> None:
    about = stored.about_comparison()
    config = read_config(about["config"], stored.COMPARISON)
    assert config == configure("maml", **{name: getattr(config, name) for name in comparer.BUDGET})
    assert about["command"].startswith("python data/build_extend.py")
    assert about["episodes"] == config.test_episodes
    assert {"torch", "numpy", "mamlkit"} <= about["versions"].keys()
    for run in stored.comparison():
        assert all(0 <= run[name] <= 1 for name in ("test", "running"))
        assert all(0 < run[name] < 0.2 for name in ("test_ci95", "running_ci95"))


def test_a_run_is_trained_again_to_the_same_line(comparer: ModuleType) -> None:
    budget = {"filters": 3, "image_size": 16, "epochs": 1, "iterations_per_epoch": 1, "val_episodes": 2}
    budget |= {"test_episodes": 4, "ensemble": 1, "device": "cpu", "engine": "vmap", "n_tasks": 1}
    job = ("maml+wd", {"inner_decay": 0.1}, 1)
    line = comparer.run(job, budget)
    assert line == comparer.run(job, budget)
    assert comparer.key(line) == json.dumps(job)
    assert line.keys() == stored.comparison()[0].keys()
