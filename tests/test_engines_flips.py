"""Every field of the configuration, of a problem and of a meta-iteration, and every rule, against every engine.

Each engine computes what the reference computes, or refuses in one sentence. A field that nobody has flipped here
fails a test, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from test_engines_adjoint import uncompiled
from tiny import AS_GOLDEN
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mamlkit import engines
from mamlkit.core import config as config_module
from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.core.networks import Conv4, PerStepBatchNorm2d
from mamlkit.core.problem import MetaParams, Problem
from mamlkit.core.rules import SGD, AdamScaling, MetaSGD, Momentum, Params, Rule, Tensors, WeightDecay, chain
from mamlkit.core.schedules import StepConfig, eval_config, step_config
from mamlkit.engines import COMPILED, ENGINES, Choice, compiler
from mamlkit.engines.closed_form import Shape
from mamlkit.training.learner import MetaLearner

BASE = dataclasses.replace(AS_GOLDEN, dtype="float64", epochs=3, image_size=16)
NUMBER = {"learn_inner_lrs": True, "inner_lr_per": "number"}
# Values of each field other than those of BASE, some with another field that they need.
FLIPS: dict[str, list[Any]] = {
    "dataset": ["omniglot", {"dataset": "folder", "data_path": "here"}],
    "data_path": [{"data_path": "here", "dataset": "folder"}],
    "image_size": [20, 33],
    "rotation": ["classes", "episodes"],
    "n_way": [2, 5],
    "k_shot": [1, 3],
    "q_query": [1, 3],
    "eval_query": [1],
    "backbone": ["mlp", "resnet12", "deep"],
    "depth": [{"depth": 4, "backbone": "deep"}],
    "batch_norm": [{"batch_norm": False, "backbone": "deep"}],
    "skips": [{"skips": True, "backbone": "deep"}],
    "filters": [3, 7],
    "max_pool": [False],
    "per_step_bn": [True],
    "per_step_stats": [True],
    "norm_train": ["running", {"norm_train": "running", "per_step_bn": True, "per_step_stats": True}],
    "norm_eval": ["running"],
    "n_steps": [1, 3],
    "eval_steps": [1, 4],
    "inner_lr": [-0.1],
    "learn_inner_lrs": [True],
    "inner_lr_per": [NUMBER],
    "inner_rule": ["momentum", "adam"],
    "inner_decay": [0.1],
    "adapt": ["head", "body"],
    "adapt_norms": [True, {"adapt_norms": True, "per_step_bn": True}],
    "method": [
        {"method": "reptile", "second_order": False},
        {"method": "protonet", "second_order": False, "n_steps": 1, "inner_lr": 0.1},
    ],
    "n_tasks": [1, 3],
    "outer_lr": [0.1],
    "beta2": [0.9],
    "cosine_lr": [True],
    "min_outer_lr": [1e-6],
    "second_order": [False],
    "first_order_share": [0.5],
    "multi_step_loss": [True, {"multi_step_loss": True, "per_step_bn": True, "per_step_stats": True}],
    "msl_share": [{"msl_share": 1.0, "multi_step_loss": True}],
    "grad_clamp": [0.1],
    "grad_clip": [0.1],
    "on_nonfinite": ["skip"],
    "epochs": [1],
    "iterations_per_epoch": [7],
    "val_episodes": [7],
    "test_episodes": [7],
    "ensemble": [3],
    "patience": [2],
    "seed": [1],
    "device": ["auto"],
    "dtype": ["float32"],
    "engine": ["eager", "vmap", "compiled"],
    "tasks_per_chunk": [1, 2],
    "memory": ["low"],
    "autocast": [{"autocast": True, "dtype": "float32"}],
    "tf32": [{"tf32": True, "dtype": "float32", "device": "auto"}],
}
# Beside 1e-9: what is rounded otherwise, and Adam, which divides the rounding of idle biases' gradients by 1e-8.
TOLERANCES = {"dtype": 1e-4, "tf32": 1e-4, "inner_rule": 1e-7}
RULES: dict[str, Rule] = {
    "lslr": SGD(0.05, 2, learn=True),
    "more steps": SGD(0.05, 5),
    "meta-sgd": MetaSGD(0.05),
    "momentum": chain(Momentum(), SGD(0.05, 2)),
    "adam": chain(AdamScaling(), SGD(0.01, 2)),
    "weight decay": chain(WeightDecay(0.3), SGD(0.05, 2, learn=True)),
}


class Halved(SGD):
    """A user's rule that looks like SGD."""

    def update(self, tensors: Tensors, gradients: Params, state: Any, params: Params, step: int) -> tuple[Params, Any]:
        return super().update(tensors, {name: value / 2 for name, value in gradients.items()}, state, params, step)


class Squared(Conv4):
    """A user's network that looks like Conv4."""

    def forward(self, x: Tensor, step: int, norm: str = "batch") -> Any:
        return super().forward(x**2, step, norm)


class Swapped(nn.Conv2d):
    """A user's layer that looks like a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-1))


def smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, label_smoothing=0.1)


def first_class(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == 0).double().mean()


def conv4(kind: type[Conv4] = Conv4, change: Callable[[Conv4], object] = lambda network: None) -> Conv4:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = kind(1, 16, 3, filters=4, n_steps=2)
    change(network)
    return network


def frozen(network: Conv4) -> None:
    network.convs[1].weight.requires_grad_(False)


def hooked(network: Conv4) -> None:
    network.convs[2].register_forward_hook(lambda module, arguments, out: 2 * out)


def patched(network: Conv4) -> None:
    def doubled(self: Conv4, x: Tensor, step: int, norm: str = "batch") -> Any:
        return Conv4.forward(self, 2 * x, step, norm)

    network.forward = types.MethodType(doubled, network)  # type: ignore[method-assign]


def dilated(network: Conv4) -> None:
    network.convs[1] = nn.Conv2d(4, 4, 3, padding=2, dilation=2)


def narrow(network: Conv4) -> None:
    network.convs[1] = nn.Conv2d(4, 4, (1, 3), padding=1)


def widened(network: Conv4) -> None:
    network.convs[1], network.convs[2] = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
    network.norms[1] = PerStepBatchNorm2d(6, 2, per_step_bn=False, per_step_stats=False)


def swapped(network: Conv4) -> None:
    network.convs[0] = Swapped(1, 4, 3, padding=1)


def unbiased(network: Conv4) -> None:
    network.head = nn.Linear(4, 3, bias=False)


def dropping(network: Conv4) -> None:
    network.head = nn.Sequential(nn.Linear(4, 3), nn.Identity())  # type: ignore[assignment]


def own_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(196, 3))


PROBLEM_FLIPS: dict[str, dict[str, Callable[[], dict[str, Any]]]] = {
    "network": {
        "a network of one input": lambda: {"network": own_network()},
        "a subclass of Conv4": lambda: {"network": conv4(Squared)},
        **{
            change.__name__: (lambda change=change: {"network": conv4(change=change)})  # type: ignore[misc]
            for change in (frozen, hooked, patched, dilated, narrow, widened, swapped, unbiased, dropping)
        },
    },
    "loss": {"smoothed": lambda: {"loss": smoothed}},
    "metric": {"first class": lambda: {"metric": first_class}},
    "rule": {
        "a user's rule": lambda: {"rule": Halved(0.1, 2)},
        **{name: (lambda rule=rule: {"rule": rule}) for name, rule in RULES.items()},  # type: ignore[misc]
    },
    "adapt": {which: (lambda which=which: {"adapt": which}) for which in ("head", "body")},  # type: ignore[misc]
    "adapt_norms": {"norms too": lambda: {"adapt_norms": True}},
}
STEP_FLIPS: dict[str, list[Any]] = {
    "loss_weights": [(1.0,), (0.4, 0.6), (0.6, 0.0)],
    "second_order": [False],
    "track_query": [True],
    "norm": ["running"],
}


class Found(NamedTuple):
    """What an engine has computed."""

    steps: list[Any]  # MetaStep of every kind of epoch
    outputs: Tensor  # of the evaluator


@pytest.fixture(autouse=True)
def closed_form_without_a_compiler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled engine computes with the functions that it would compile; in long tests it compiles them."""
    if request.node.get_closest_marker("long"):
        return

    def load(support: Shape, query: Shape, *, autocast: bool = False) -> Any:
        return uncompiled(*(dataclasses.replace(shape, autocast=autocast) for shape in (support, query)))

    monkeypatch.setattr(compiler, "load", load)
    monkeypatch.setattr(compiler, "obstacle", lambda: "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def changes(field: str, value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {field: value}


def flips(table: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(name, value, id=f"{name}-{value}") for name in table for value in table[name]]


FIELDS_OF_PROBLEMS = [pytest.param(f, name, id=f"{f}-{name}") for f in PROBLEM_FLIPS for name in PROBLEM_FLIPS[f]]
KNOWN_PROBLEMS = {("rule", "lslr"), ("rule", "more steps"), ("adapt", "head"), ("adapt", "body")}  # to the closed form
each_engine = pytest.mark.parametrize("engine", ENGINES)


def noise(like: Any, seed: int, scale: float) -> Any:
    """Return tensors with noise added, so that each row of each table is another."""
    rng = torch.Generator().manual_seed(seed)
    return pytree.tree_map(lambda x: x + scale * torch.randn(x.shape, generator=rng, dtype=x.dtype), like)


def images(config: Config) -> Episode:
    rng = torch.Generator().manual_seed(config.seed)
    size = (1, config.image_size, config.image_size)
    classes = torch.arange(config.n_way)
    labels = [classes.repeat_interleave(n).repeat(config.n_tasks, 1) for n in (config.k_shot, config.q_query)]
    drawn = [torch.rand(*y.shape, *size, generator=rng, dtype=torch.float64) for y in labels]
    return Episode(drawn[0], labels[0], drawn[1], labels[1])


def start(config: Config, problem: Problem | None) -> MetaLearner:
    if problem is not None:
        return MetaLearner(problem, config)
    return MetaLearner.from_config(config, (1, config.image_size, config.image_size))


def compute(config: Config, problem: Problem | None = None, steps: list[StepConfig] | None = None) -> Found:
    """Return the meta-gradients and the answers of the engine that a configuration asks for."""
    learner = start(config, problem)
    batch, problem = learner.to_device(images(config)), learner.problem
    meta = MetaParams(noise(learner.params, 1, 0.05), noise(learner.rule_tensors, 2, 0.02))
    buffers = pytree.tree_map(lambda x: x if x.dtype == torch.int64 else noise(x, 3, 0.1).abs(), learner.buffers)
    choice = engines.choose(problem, config, batch)
    assert config.engine in ("auto", choice.engine) or choice.why, "another engine is taken without a word"
    engine = engines.make(choice, problem, config)
    if steps is None:
        steps = list(dict.fromkeys(step_config(config, epoch) for epoch in range(config.epochs)))
    evaluator = engines.make_evaluator(choice, problem.at_evaluation, config)
    norms = [eval_config(config, norm) for norm in ("batch", "running")]
    return Found([engine(meta, buffers, batch, step) for step in steps], evaluator(meta, buffers, batch, norms))


def reference(config: Config, *arguments: Any) -> Found:
    plain = dataclasses.replace(config, engine="eager", tasks_per_chunk=0, memory="normal")
    return compute(plain, *arguments)


def assert_equal(found: Found, expected: Found, tolerance: float = 1e-9) -> None:
    ours, structure = pytree.tree_flatten(found)
    theirs, same = pytree.tree_flatten(expected)
    assert structure == same
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


def assert_near(found: Found, expected: Found) -> None:
    """Check losses and the direction of gradients alone: numbers of 8 bits take other ways at pooling's kinks."""
    for ours, theirs in zip(found.steps, expected.steps):
        assert abs(ours.loss - theirs.loss) < 0.02
        a, b = (torch.cat([x.flatten() for x in pytree.tree_leaves(step.gradient)]) for step in (ours, theirs))
        assert torch.cosine_similarity(a, b, 0) > 0.8


def assert_equal_or_refused(engine: str, config: Config, *arguments: Any, tolerance: float = 1e-9) -> bool:
    """Return whether the engine computes it, as the reference does; otherwise it must refuse."""
    expected = reference(config, *arguments)
    try:
        found = compute(dataclasses.replace(config, engine=engine), *arguments)
    except InputError:
        return False
    (assert_near if config.autocast else functools.partial(assert_equal, tolerance=tolerance))(found, expected)
    return True


def test_every_field_is_flipped() -> None:
    for kind, table in ((Config, FLIPS), (Problem, PROBLEM_FLIPS), (StepConfig, STEP_FLIPS)):
        assert {field.name for field in dataclasses.fields(kind)} == table.keys(), kind.__name__
    for field in dataclasses.fields(Config):
        found = {changes(field.name, value)[field.name] for value in FLIPS[field.name]}
        assert found - {getattr(BASE, field.name)} == found != set(), field.name
        if field.name not in ("dataset", "device"):  # no image is read here, and there is one device
            assert found >= set(field.metadata["choices"]) - {getattr(BASE, field.name)}, field.name


def test_all_engines_compute_what_is_not_flipped() -> None:
    assert all(assert_equal_or_refused(engine, BASE) for engine in ENGINES)


@each_engine
@pytest.mark.parametrize(("field", "value"), flips(FLIPS))
def test_a_field_of_the_configuration_is_obeyed_or_refused(field: str, value: Any, engine: str) -> None:
    config = dataclasses.replace(BASE, **changes(field, value))
    engine = value if field == "engine" else engine
    try:
        done = assert_equal_or_refused(engine, config, tolerance=TOLERANCES.get(field, 1e-9))
    except InputError:  # of the reference: there is no such thing here at all
        pytest.fail("the reference refuses the value: choose another")
    assert done or engine == "compiled" or field == "tasks_per_chunk"


@each_engine
@pytest.mark.parametrize(("field", "name"), FIELDS_OF_PROBLEMS)
def test_a_field_of_the_problem_is_obeyed_or_refused(field: str, name: str, engine: str) -> None:
    given = {"network": conv4(), **PROBLEM_FLIPS[field][name]()}
    done = assert_equal_or_refused(engine, BASE, Problem(**given))
    assert done or engine == "compiled"
    if engine == "compiled":
        assert done == ((field, name) in KNOWN_PROBLEMS)


@each_engine
@pytest.mark.parametrize(("field", "value"), flips(STEP_FLIPS))
def test_a_field_of_a_meta_iteration_is_obeyed_or_refused(field: str, value: Any, engine: str) -> None:
    step = dataclasses.replace(StepConfig((0.0, 1.0)), **{field: value})
    done = assert_equal_or_refused(engine, BASE, None, [step])
    assert done == (engine != "compiled" or field != "norm")


@dataclasses.dataclass(frozen=True)
class Wider(Config):
    """The configuration with a seventh fix."""

    inner_noise: float = dataclasses.field(
        default=0.0, metadata={"group": "Inner loop", "help": "", "choices": (), "low": 0.0, "high": 1.0}
    )


@dataclasses.dataclass(frozen=True)
class WiderStep(StepConfig):
    """A meta-iteration with a seventh fix."""

    noise: float = 0.5


def test_a_field_that_is_added_to_the_configuration_is_refused_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(config_module.FIELD_TYPES, "inner_noise", float)
    off, on = (Wider(**BASE.to_dict(), inner_noise=value) for value in (0.0, 0.5))
    problem, batch = start(BASE, None).problem, images(BASE)
    for engine in ENGINES:
        assert engines.choose(problem, dataclasses.replace(off, engine=engine), batch).engine == engine
    sentence = r"^engine = 'compiled' does not know inner_noise = 0\.5; choose 'auto', 'vmap' or 'eager'$"
    with pytest.raises(InputError, match=sentence):
        engines.choose(problem, dataclasses.replace(on, engine="compiled"), batch)
    choice = engines.choose(problem, dataclasses.replace(on, engine="auto", epochs=10**9), batch)
    assert choice.engine == "vmap"
    assert choice.why == ("engine vmap: compiled is not used: does not know inner_noise = 0.5",)


def test_a_field_that_is_added_to_a_meta_iteration_is_refused_in_training_and_at_evaluation() -> None:
    learner, step = start(BASE, None), WiderStep((0.0, 1.0), second_order=False)
    batch = learner.to_device(images(BASE))
    choice = Choice("compiled", 1, ())
    sentence = r"^the compiled engine does not know noise = 0\.5 of a meta-iteration$"
    with pytest.raises(InputError, match=sentence):
        engines.make(choice, learner.problem, BASE)(learner.meta, learner.buffers, batch, step)
    with pytest.raises(InputError, match=sentence):
        engines.make_evaluator(choice, learner.problem, BASE)(learner.meta, learner.buffers, batch, [step])


def test_a_choice_that_is_made_elsewhere_is_refused_too() -> None:
    problem = start(BASE, Problem(conv4(), rule=MetaSGD(0.05))).problem
    assert COMPILED.supports(problem, BASE) == "the rule MetaSGD(rate=0.05)"
    for make in (engines.make, engines.make_evaluator):
        with pytest.raises(InputError, match=r"^engine = 'compiled' does not know the rule MetaSGD\(rate=0\.05\)"):
            make(Choice("compiled", 1, ()), problem, BASE)


SAME_SHAPES: list[dict[str, Any]] = [
    {},
    {"learn_inner_lrs": True},
    {"per_step_bn": True, "multi_step_loss": True},
    {"adapt": "head"},
    {"memory": "low"},
]


@pytest.mark.long
@pytest.mark.usefixtures("compiled_cache")
@pytest.mark.parametrize("flip", SAME_SHAPES, ids=str)
def test_compiled_code_computes_what_its_source_computes(flip: dict[str, Any]) -> None:
    assert assert_equal_or_refused("compiled", dataclasses.replace(BASE, image_size=28, **flip))
