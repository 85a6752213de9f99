"""Engines: which one computes a run and why, and that all give the same numbers."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import AS_GOLDEN
from torch import nn
from torch.utils import _pytree as pytree

from mamlkit import engines
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.problem import Problem
from mamlkit.core.schedules import StepConfig, step_config
from mamlkit.engines import COMPILED, Choice, compiler, native
from mamlkit.engines.work import forward_flop, iteration_flop
from mamlkit.training.learner import MetaLearner

SHAPE = (1, 28, 28)
MAMLPP = {"per_step_bn": True, "per_step_stats": True, "multi_step_loss": True, "learn_inner_lrs": True}
LONG = Config(epochs=50, iterations_per_epoch=100, device="cpu")


def episodes(dtype: torch.dtype) -> Episode:
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.rand(2, 6, *SHAPE, generator=generator, dtype=dtype) for _ in range(2))
    labels = torch.arange(6).remainder(3).repeat(2, 1)
    return Episode(support, labels, query, labels)


def step(config: Config, batch: Episode) -> MetaStep:
    return MetaLearner.from_config(config, SHAPE).meta_step(batch, 0)


def images(config: Config) -> Episode:
    """Return a meta-batch of blank images, as the engine will get it."""
    support, query = (
        torch.zeros(config.n_tasks, config.n_way * n, *SHAPE, dtype=getattr(torch, config.dtype))
        for n in (config.k_shot, config.q_query)
    )
    return Episode(support, support[..., 0, 0, 0].long(), query, query[..., 0, 0, 0].long())


def problem_of(config: Config) -> Problem:
    here = dataclasses.replace(config, device="cpu")
    return MetaLearner.from_config(here, SHAPE).problem


def choose(config: Config, **settings: Any) -> Choice:
    config = dataclasses.replace(config, **settings)
    return engines.choose(problem_of(config), config, images(config))


def prepare(config: Config) -> Choice:
    return engines.prepare(problem_of(config), config, images(config))


def parts(config: Config) -> list[compiler.Part]:
    choice = choose(config, engine="compiled")
    return COMPILED.parts(problem_of(config), config, images(config), choice.tasks_per_chunk)


def distance(found: MetaStep, expected: MetaStep) -> float:
    pairs = zip(pytree.tree_leaves(found), pytree.tree_leaves(expected))
    return max(float((a - b).abs().nan_to_num().max()) for a, b in pairs)


@pytest.mark.usefixtures("compiled_cache")
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-10), pytest.param("float32", 1e-5, marks=pytest.mark.long)]
)
def test_all_engines_and_both_ways_with_memory_give_the_same_step(dtype: str, tolerance: float) -> None:
    config = dataclasses.replace(AS_GOLDEN, dtype=dtype, inner_lr=0.01, **MAMLPP)
    batch = episodes(getattr(torch, dtype))
    expected = step(dataclasses.replace(config, engine="eager"), batch)
    assert expected.loss.dtype == getattr(torch, dtype)
    for engine in ("vmap", "compiled"):
        for memory in ("normal", "low"):
            found = step(dataclasses.replace(config, engine=engine, memory=memory), batch)
            assert pytree.tree_structure(found) == pytree.tree_structure(expected)
            assert distance(found, expected) < tolerance, f"{engine}, memory {memory}"


@pytest.mark.parametrize(("epochs", "engine"), [(2, "vmap"), (100_000, "compiled")])
def test_the_choice_is_the_same_with_an_empty_and_with_a_filled_cache(
    epochs: int, engine: str, compiled_cache: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(AS_GOLDEN, dtype="float64", epochs=epochs)
    wanted = parts(config)
    compiler.compile_parts(wanted)
    assert compiler.missing(wanted) == []
    filled = choose(config)
    monkeypatch.setenv("MAMLKIT_CACHE", str(own_cache))
    assert compiler.missing(wanted) == wanted
    assert choose(config) == filled
    assert filled.engine == engine


@pytest.mark.parametrize("engine", ["eager", "vmap", "compiled"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_refused_under_every_engine(
    engine: str, bad: float, request: pytest.FixtureRequest
) -> None:
    if engine == "compiled":
        request.getfixturevalue("compiled_cache")
    learner = MetaLearner.from_config(dataclasses.replace(AS_GOLDEN, dtype="float64", engine=engine), SHAPE)
    batch = episodes(torch.float64)
    batch.support_x[0, 0, 0, 5, 5] = bad
    found = learner.meta_step(batch, 0)
    before = {name: value.clone() for name, value in learner.state().items()}
    assert not learner.apply(found, 0)
    assert all(torch.equal(value, before[name]) for name, value in learner.state().items())


@pytest.mark.parametrize("engine", ["eager", "vmap"])
def test_autocast_computes_in_bfloat16_and_learns_in_float32(engine: str) -> None:
    exact, rounded = (
        step(dataclasses.replace(AS_GOLDEN, inner_lr=0.01, engine=engine, autocast=autocast), episodes(torch.float32))
        for autocast in (False, True)
    )
    assert rounded.gradient.model["convs.1.weight"].dtype == torch.float32
    difference = (exact.gradient.model["convs.1.weight"] - rounded.gradient.model["convs.1.weight"]).norm()
    assert 1e-5 < difference / exact.gradient.model["convs.1.weight"].norm() < 0.3


@pytest.mark.usefixtures("has_cxx")
def test_auto_compiles_only_where_the_run_is_long_enough_to_repay_it() -> None:
    assert choose(LONG).engine == "compiled"
    assert choose(LONG).why == ("engine compiled: 5000 iterations of 23.6 GFLOP repay half a minute of compiling",)
    short = choose(LONG, epochs=1, iterations_per_epoch=20)
    assert short.engine == "vmap"
    why = "engine vmap: compiled is not used: 20 iterations of 23.6 GFLOP would not repay half a minute of compiling"
    assert short.why == (why,)


@pytest.mark.usefixtures("has_cxx")
def test_an_engine_that_is_named_is_taken_without_a_word() -> None:
    for engine in ("eager", "vmap", "compiled"):
        choice = choose(LONG, engine=engine)
        assert (choice.engine, choice.why) == (engine, ())


@pytest.mark.parametrize("engine", ["auto", "compiled"])
def test_without_a_compiler_another_engine_is_taken_and_said(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    choice = choose(LONG, engine=engine)
    assert choice.engine == "vmap"
    assert choice.why == (
        "engine vmap: compiled is not used: there is no C++ compiler (g++ or clang++) on this machine",
    )


@pytest.mark.long
def test_a_compiler_that_fails_is_said_and_leaves_nothing(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")  # a program that is there and fails
    choice = prepare(dataclasses.replace(AS_GOLDEN, engine="compiled"))
    assert choice.engine == "vmap"
    [why] = choice.why
    assert why.startswith("engine vmap: compiled cannot be used, compiling ")
    assert [path for path in own_cache.rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("has_cxx")
@pytest.mark.parametrize("engine", ["auto", "compiled"])
@pytest.mark.parametrize("error", [TypeError, AttributeError])
def test_a_torch_with_another_loader_takes_another_engine_and_compiles_nothing(
    engine: str, error: type[Exception], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange() -> None:
        raise error("incompatible arguments")

    def compile_one(_: compiler.Part) -> None:
        raise AssertionError("compiled for nothing")

    monkeypatch.setattr(native, "_exchange", exchange)
    monkeypatch.setattr(compiler, "_compile", compile_one)
    choice = prepare(dataclasses.replace(LONG, engine=engine))
    assert choice.engine == "vmap"
    assert choice.why == (
        f"engine vmap: compiled is not used: torch {torch.__version__} has another loader of compiled code",
    )
    assert not own_cache.exists()


def write_junk(part: compiler.Part) -> None:
    compiler.package(part).parent.mkdir(parents=True, exist_ok=True)
    compiler.package(part).write_bytes(b"half of a package")


@pytest.mark.usefixtures("has_cxx")
def test_compiled_code_that_cannot_be_loaded_is_said_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(AS_GOLDEN, engine="compiled", dtype="float64")
    monkeypatch.setattr(compiler, "_compile", write_junk)
    choice = prepare(config)
    assert choice.engine == "vmap"
    assert re.fullmatch(
        r"engine vmap: compiled cannot be used, the compiled code .*\.pt2 cannot be loaded \(.+\)", choice.why[0]
    )
    step(config, episodes(torch.float64))


def test_an_evaluation_does_without_compiled_code_that_is_damaged() -> None:
    config = dataclasses.replace(AS_GOLDEN, engine="auto", dtype="float64")
    batch = episodes(torch.float64)
    expected = MetaLearner.from_config(config, SHAPE).query_logits(batch, ["batch"])
    for part in parts(config):
        write_junk(part)
    found = MetaLearner.from_config(config, SHAPE).query_logits(batch, ["batch"])
    assert torch.equal(found, expected)


def test_other_networks_and_losses_are_not_compiled() -> None:
    problem = problem_of(AS_GOLDEN)
    assert COMPILED.supports(problem, AS_GOLDEN) is None
    other = dataclasses.replace(problem, loss=F.mse_loss)
    assert str(COMPILED.supports(other, AS_GOLDEN)).startswith("the loss <function mse_loss")
    choice = choose(LONG, backbone="mlp")
    assert choice.engine == "vmap"
    why = "does not know the network MLP: the closed form is only for mamlkit's own Conv4, unchanged"
    assert choice.why == (f"engine vmap: compiled is not used: {why}",)
    with pytest.raises(InputError, match=rf"^engine = 'compiled' {why}; choose 'auto', 'vmap' or 'eager'$"):
        choose(LONG, backbone="mlp", engine="compiled")


def test_on_a_device_other_than_the_cpu_and_cuda_there_is_no_closed_form() -> None:
    there = pytree.tree_map(lambda x: x.to("meta"), images(LONG))
    choice = engines.choose(problem_of(LONG), LONG, there)
    assert choice.why == ("engine vmap: compiled is not used: it runs only on the CPU and CUDA",)


@pytest.mark.usefixtures("has_cxx")
@pytest.mark.parametrize(
    ("settings", "chunk"),
    [
        ({"engine": "eager"}, 1),
        ({"engine": "vmap"}, 2),
        ({"engine": "vmap", "n_tasks": 1}, 1),
        ({"engine": "vmap", "n_tasks": 3}, 1),
        ({"engine": "vmap", "n_tasks": 16}, 4),
        ({"engine": "vmap", "tasks_per_chunk": 3}, 3),
        ({"engine": "compiled", "q_query": 1}, 2),
        ({"engine": "compiled", "q_query": 1, "n_tasks": 3}, 1),
        ({"engine": "compiled", "q_query": 1, "n_way": 20}, 1),
        ({"engine": "compiled", "tasks_per_chunk": 4}, 4),
    ],
)
def test_tasks_at_once_suit_the_engine_unless_they_are_given(settings: dict[str, Any], chunk: int) -> None:
    choice = choose(LONG, **settings)
    assert (choice.tasks_per_chunk, choice.why) == (chunk, ())


def test_a_chunk_larger_than_the_meta_batch_is_cut_and_said() -> None:
    choice = choose(LONG, engine="vmap", tasks_per_chunk=9)
    assert choice.tasks_per_chunk == LONG.n_tasks
    assert choice.why == (f"tasks_per_chunk = 9 is more than n_tasks = {LONG.n_tasks}; {LONG.n_tasks} is used",)


@pytest.mark.usefixtures("has_cxx")
def test_a_chunk_that_does_not_divide_the_batch_needs_a_second_shape() -> None:
    assert {part[1].n_tasks for part in parts(dataclasses.replace(LONG, n_tasks=8))} == {1}
    config = dataclasses.replace(LONG, n_tasks=8, tasks_per_chunk=3)
    assert {part[1].n_tasks for part in parts(config)} == {3, 2}


def test_the_counted_work_is_that_of_every_convolution() -> None:
    model = problem_of(LONG).network
    counted = 0.0

    def count(module: nn.Module, _: Any, out: torch.Tensor) -> None:
        nonlocal counted
        counted += 2.0 * out.numel() * module.weight[0].numel()  # type: ignore[index]

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    model(torch.zeros(1, *SHAPE), 0)
    assert forward_flop(LONG, SHAPE) == counted
    strided = dataclasses.replace(LONG, max_pool=False)
    assert forward_flop(strided, SHAPE) < counted / 3
    once = iteration_flop(LONG, StepConfig((0.0, 1.0), second_order=False), SHAPE)
    images = LONG.n_tasks * LONG.n_way * (2 * LONG.k_shot + LONG.q_query)
    assert once == images * 3 * counted
    assert iteration_flop(LONG, step_config(LONG, 0), SHAPE) > 2 * once
