"""A problem of the user's own: what x, y, networks, losses and metrics may be, and what is refused in one sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import same
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mamlkit.core.config import Config
from mamlkit.core.episodes import Episode, ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.networks import MLP
from mamlkit.core.problem import Problem, accuracy
from mamlkit.core.recipes import configure
from mamlkit.core.rules import SGD
from mamlkit.training.evaluation import evaluate
from mamlkit.training.learner import MetaLearner
from mamlkit.training.trainer import Trainer, make_sampler

CONFIG = Config(
    n_way=2,
    n_steps=2,
    n_tasks=2,
    epochs=2,
    iterations_per_epoch=2,
    val_episodes=3,
    inner_lr=0.2,
    dtype="float64",
    device="cpu",
)
ENGINES = ("eager", "vmap")
Draw = Callable[[torch.Generator], tuple[Any, Any]]


@dataclass(frozen=True)
class Drawn:
    """A sampler of made-up tasks: ``draw`` gives x and y, with two sets of images in each."""

    draw: Draw

    def batch(self, first_index: int, n_tasks: int) -> Episode:
        tasks = []
        for index in range(first_index, first_index + n_tasks):
            rng = torch.Generator().manual_seed(index)
            tasks.append(Episode(*self.draw(rng), *self.draw(rng)))
        return pytree.tree_map(lambda *leaves: torch.stack(leaves), *tasks)  # type: ignore[no-any-return]


def but(**changes: Any) -> Config:
    return dataclasses.replace(CONFIG, **changes)


def train(problem: Problem, draw: Draw, **changes: Any) -> Trainer:
    """Return a trainer that has trained from its first epoch to its last."""
    trainer = Trainer(MetaLearner(problem, but(**changes)), Drawn(draw), Drawn(draw))
    list(trainer.epochs())
    return trainer


def assert_engines_agree(problem: Problem, draw: Draw, engines: tuple[str, ...] = ENGINES) -> None:
    """Check that engines, and both ways with memory, train and evaluate to the same numbers."""
    expected = train(problem, draw, engine="eager")
    for engine in engines:
        for memory in ("normal", "low"):
            found = train(problem, draw, engine=engine, memory=memory)
            assert found.choice.engine == engine, found.choice.why
            for name, value in expected.learner.state().items():
                torch.testing.assert_close(found.learner.state()[name], value, rtol=1e-5, atol=1e-7)
            pairs = zip(found.history, expected.history)
            assert all(a.validation.loss == pytest.approx(b.validation.loss, abs=2e-6) for a, b in pairs)


def pictures(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(4, 1, 8, 8, generator=rng, dtype=torch.float64), torch.tensor([0, 0, 1, 1])


def sequences(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(4, 5, 6, generator=rng, dtype=torch.float64), torch.tensor([0, 0, 1, 1])


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def convolution(*layers: nn.Module) -> nn.Module:
    """Return a small network for ``pictures``, with some layers in its middle."""
    return seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3, 2), *layers, nn.Tanh(), nn.Flatten(), nn.Linear(36, 2)))


def test_accuracy_is_the_share_of_right_answers_and_none_of_a_regression() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0], [0.0, 9.0]])
    assert accuracy(logits, torch.tensor([0, 1, 1, 1])) == 0.75
    assert accuracy(logits, torch.zeros(4, 2)).isnan()
    maps = torch.stack([logits, 1 - logits], 2)  # [Q, N, pixels]
    assert accuracy(maps, torch.tensor([[0, 0], [1, 0], [1, 1], [1, 1]])) == 5 / 8
    with pytest.raises(
        InputError, match=r"^outputs \[4\] do not have one number per class of targets \[4\], so there is no "
    ):
        accuracy(torch.zeros(4), torch.zeros(4, dtype=torch.int64))


class Tokens(nn.Module):
    """The mean of the embeddings of the tokens that are there, and a layer on it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 6), nn.Linear(6, 2)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        there = x["mask"].unsqueeze(-1)
        mean = (self.embedding(x["tokens"]) * there).sum(1) / there.sum(1)
        return {"logits": self.head(mean), "size": mean.square().sum(1)}


def sentences(rng: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    tokens = torch.randint(11, (4, 7), generator=rng)
    mask = (torch.arange(7) < torch.randint(1, 8, (4, 1), generator=rng)).double()
    return {"tokens": tokens, "mask": mask}, {"label": torch.tensor([0, 0, 1, 1]), "size": torch.ones(4).double()}


def test_x_y_and_outputs_may_be_dictionaries_of_tensors() -> None:
    def loss(outputs: Any, targets: Any) -> Tensor:
        return F.cross_entropy(outputs["logits"], targets["label"]) + F.mse_loss(outputs["size"], targets["size"])

    def right(outputs: Any, targets: Any) -> Tensor:
        return accuracy(outputs["logits"], targets["label"])

    problem = Problem(seeded(Tokens), loss, metric=right)
    assert_engines_agree(problem, sentences)
    assert 0 <= train(problem, sentences).history[-1].validation.accuracy <= 1


def test_every_pixel_may_have_a_class_and_a_metric_of_ones_own() -> None:
    def draw(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.randn(3, 1, 6, 6, generator=rng, dtype=torch.float64)
        return x, (x[:, 0] > 0).long()  # [Q, H, W]

    def overlap(outputs: Tensor, targets: Tensor) -> Tensor:
        found = outputs.argmax(1) == 1
        return (found & (targets == 1)).sum() / (found | (targets == 1)).sum()

    network = seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 1)))
    assert_engines_agree(Problem(network, metric=overlap), draw)
    for metric in (accuracy, overlap):
        trainer = train(Problem(network, metric=metric), draw)
        batch = trainer.val.batch(0, 3)
        [logits] = trainer.learner.query_logits(batch, ["batch"])
        by_hand = [float(metric(*task)) for task in zip(logits, batch.query_y)]
        assert trainer.history[-1].validation.accuracy == pytest.approx(sum(by_hand) / 3, abs=1e-6)


def test_one_logit_may_tell_two_classes_apart() -> None:
    def draw(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = pictures(rng)
        return x, y.double()

    def right(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs[:, 0] > 0) == (targets > 0.5)).double().mean()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs[:, 0], targets)

    network = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    assert_engines_agree(Problem(network, loss, metric=right), draw)
    assert not math.isnan(train(Problem(network, loss, metric=right), draw).history[0].validation.accuracy)
    assert math.isnan(train(Problem(network, loss), draw).history[0].validation.accuracy)


def test_a_tensor_that_requires_no_gradient_neither_adapts_nor_learns_and_has_no_rates() -> None:
    network = convolution()
    network[0].requires_grad_(False)
    problem = Problem(network)
    trainer = train(problem, pictures, learn_inner_lrs=True)
    learner, before = trainer.learner, dict(network.named_parameters())
    assert learner.rows == ("3.weight", "3.bias") == tuple(learner.params)
    assert learner.inner_lrs.shape == (2, 2)
    assert torch.equal(learner.buffers["0.weight"], before["0.weight"].double())
    assert not torch.equal(learner.params["3.weight"], before["3.weight"].double())
    assert len(learner.optimizer.param_groups[0]["params"]) == 3  # both of the last layer, and their rates
    assert_engines_agree(problem, pictures)


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(2, 4), nn.RMSNorm([3, 3])])
def test_a_norm_layer_adapts_where_it_is_asked_and_learns_always(layer: nn.Module) -> None:
    problem = Problem(convolution(layer))
    rows = {}
    for adapt_norms in (False, True):
        learner = train(problem, pictures, adapt_norms=adapt_norms).learner
        rows[adapt_norms] = learner.rows
        assert not torch.equal(learner.params["1.weight"], problem.network[1].weight.double())  # type: ignore[index, union-attr]
    assert "1.weight" not in rows[False]
    assert rows[True] == problem.trained
    assert_engines_agree(dataclasses.replace(problem, adapt_norms=True), pictures)


DROPPING = Problem(convolution(nn.Dropout(0.5)))


@pytest.mark.parametrize("engine", ENGINES)
def test_dropout_is_off_at_evaluation(engine: str) -> None:
    trainer = train(DROPPING, pictures, engine=engine)
    found = [evaluate([trainer.learner], trainer.val, 5) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    without = MetaLearner(Problem(convolution(nn.Identity())), trainer.learner.config)
    without.load_state(trainer.learner.state())
    assert evaluate([without], trainer.val, 5).loss == pytest.approx(found[0].loss, abs=2e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_dropout_draws_from_the_seed_of_the_run_alone(engine: str) -> None:
    runs = []
    for torchs_own in (1, 2):
        torch.manual_seed(torchs_own)
        before = torch.random.get_rng_state()
        runs.append(train(DROPPING, pictures, engine=engine))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert same(runs[0].learner.state(), runs[1].learner.state())
    other = train(DROPPING, pictures, engine=engine, seed=1)
    assert not same(runs[0].learner.state(), other.learner.state())
    plain = train(Problem(convolution(nn.Identity())), pictures, engine=engine)
    assert not same(runs[0].learner.state(), plain.learner.state())
    assert_engines_agree(DROPPING, pictures, engines=("eager",))  # memory = "low" draws the same the second time


def test_a_run_with_dropout_that_is_stopped_and_resumed_ends_equal_to_a_straight_one() -> None:
    straight = train(DROPPING, pictures)
    first, second = (Trainer(MetaLearner(DROPPING, CONFIG), Drawn(pictures), Drawn(pictures)) for _ in range(2))
    next(first.epochs())
    second.history = list(first.history)
    second.learner.load_state({name: value.clone() for name, value in first.learner.state().items()})
    torch.manual_seed(7)
    list(second.epochs())
    assert same(second.learner.state(), straight.learner.state())


class Last(nn.Module):
    """The last output of a recurrent layer, and a linear one."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.layer, self.head = kind(6, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("engine", ["eager", "auto", "vmap"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_recurrent_network_is_trained_and_evaluated_task_by_task(kind: Any, engine: str) -> None:
    problem = Problem(seeded(lambda: Last(kind)))
    trainer = train(problem, sequences, engine=engine)
    assert trainer.choice.engine == "eager"
    said = " ".join(trainer.choice.why)
    assert ("vmap is not used: torch.vmap cannot map the network Last over tasks" in said) == (engine != "eager")
    expected = train(problem, sequences, engine="eager", memory="low")
    for name, value in expected.learner.state().items():
        torch.testing.assert_close(trainer.learner.state()[name], value, rtol=1e-6, atol=1e-8)
    assert evaluate([trainer.learner], trainer.val, 3) == trainer.history[-1].validation


class Attention(nn.Module):
    """One layer of a transformer, and the mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))  # type: ignore[no-any-return]


def test_attention_has_a_second_derivative() -> None:
    problem = Problem(seeded(Attention))
    assert_engines_agree(problem, sequences, engines=("eager",))
    learner = MetaLearner(problem, but(engine="eager"))
    batch, name, eps = Drawn(sequences).batch(0, 2), "layer.self_attn.in_proj_weight", 1e-5
    gradient = learner.meta_step(batch, 0).gradient.model[name]
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start, losses = learner.params[name].clone(), []
    for sign in (1, -1):
        learner.params[name].data.copy_(start + sign * eps * direction)
        losses.append(float(learner.meta_step(batch, 0).loss))
    assert float((gradient * direction).sum()) == pytest.approx((losses[0] - losses[1]) / (2 * eps), rel=1e-4)


class Counting(nn.Module):
    """A network that counts its calls in a buffer."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return self.layer(x.flatten(1))  # type: ignore[no-any-return]


class Rebinding(Counting):
    """The same without a write in place: the name gets a new tensor."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return self.layer(x.flatten(1))  # type: ignore[no-any-return]


class Single(nn.Module):
    """A network that takes the step, and forgets the statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 2)

    def forward(self, x: Tensor, step: int, norm: str) -> Tensor:
        return self.layer(x.flatten(1))  # type: ignore[no-any-return]


BATCH_NORM = (
    r"layer '1' of the network, BatchNorm2d\(4\), writes its running statistics in place; "
    r"write BatchNorm2d\(4, track_running_stats=False\)"
)


def on_two_devices() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: convolution(nn.BatchNorm2d(4)),
            f"{BATCH_NORM}, or mamlkit.core.batch_norm.PerStepBatchNorm2d",
        ),
        (Counting, "the network Counting changes its tensor 'calls' when called; return statistics instead"),
        (Rebinding, "the network Rebinding changes its tensor 'calls' when called; return statistics instead"),
        (Single, r"the network Single takes the step, so it must return a pair \(outputs, statistics\)"),
        (nn.Flatten, "the network Flatten has no parameters; parameters on one device are needed"),
        (on_two_devices, "the network Sequential has parameters on cpu, meta; parameters on one device are needed"),
        (
            lambda: nn.Linear(3, 2),
            r"the network Linear cannot take inputs of shape \[4, 1, 8, 8\]: .*mat1 and mat2 shapes .*",
        ),
        (
            lambda: convolution().requires_grad_(False),
            "the network Sequential has no parameter that may adapt; at least one must require a gradient, .*",
        ),
    ],
)
@pytest.mark.parametrize("engine", ["eager", "auto"])
def test_a_network_that_cannot_be_trained_is_refused_before_the_first_iteration(
    make: Callable[[], nn.Module], sentence: str, engine: str
) -> None:
    with pytest.raises(InputError, match=f"^{sentence}$"):
        Trainer(MetaLearner(Problem(make()), but(engine=engine)), Drawn(pictures), Drawn(pictures))


@pytest.mark.parametrize("engine", ["eager", "auto", "vmap"])
def test_a_loss_that_is_no_scalar_is_refused(engine: str) -> None:
    def each(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    with pytest.raises(InputError, match=r"^the loss returns a tensor of shape \[4\]; a scalar is needed$"):
        train(Problem(convolution(), each), pictures, engine=engine)


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (
            lambda outputs, targets: 100 * accuracy(outputs, targets) + 2,
            r"the metric <lambda> is \S+ on a task; a number ",
        ),
        (lambda outputs, targets: -1.0, r"the metric <lambda> is -1 on a task; a number in \[0, 1\] or NaN is allowed"),
        (
            lambda outputs, targets: outputs.argmax(1) == targets,
            r"the metric returns a tensor of shape \[4\]; a scalar is needed",
        ),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_metric_that_is_no_share_is_refused_in_training_and_at_evaluation(
    metric: Any, sentence: str, engine: str
) -> None:
    problem = Problem(convolution(), metric=metric)
    with pytest.raises(InputError, match=f"^{sentence}"):
        train(problem, pictures, engine=engine)
    with pytest.raises(InputError, match=f"^{sentence}"):
        evaluate([MetaLearner(problem, but(engine=engine))], Drawn(pictures), 2)


def test_a_metric_may_be_a_plain_number() -> None:
    trainer = train(Problem(convolution(), metric=lambda outputs, targets: 0.25), pictures)
    assert trainer.history[-1].validation.accuracy == trainer.history[-1].train_accuracy == 0.25


@pytest.mark.parametrize("network", [convolution(), MLP(64, 2)], ids=["own", "mlp"])
def test_per_step_settings_are_refused_where_no_layer_obeys_them(network: nn.Module) -> None:
    config = configure("mamlpp", n_way=2, device="cpu")
    named = f"the network {type(network).__name__} has no PerStepBatchNorm2d with per_step_bn"
    sentence = f"^per_step_bn = True has no meaning: {named}$"
    with pytest.raises(InputError, match=sentence):
        MetaLearner(Problem(network), config)


@pytest.mark.parametrize(
    ("given", "changes", "sentence"),
    [
        (
            {"rule": SGD(0.2, 2)},
            {"inner_decay": 0.1},
            r"inner_lr = 0\.2 has no meaning: the problem has rule = SGD\(.*\)",
        ),
        ({"adapt": "all"}, {"adapt": "head"}, "adapt = 'head' has no meaning: the problem has adapt = 'all'"),
        (
            {"adapt_norms": False},
            {"adapt_norms": True},
            "adapt_norms = True has no meaning: the problem has adapt_norms",
        ),
    ],
)
def test_a_configuration_that_contradicts_the_problem_is_refused(
    given: dict[str, Any], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=f"^{sentence}"):
        Problem(convolution(), **given).configured(but(**changes))


def test_a_problem_settles_what_the_configuration_leaves_open() -> None:
    problem = Problem(convolution(), rule=SGD(0.7, 2, learn=True))
    learner = MetaLearner(problem, but(inner_lr=0.1))
    assert learner.inner_lrs.unique().tolist() == [0.7]
    assert learner.problem.rule == problem.rule
    assert Problem(convolution()).configured(CONFIG).rule == SGD(0.2, 2)
    with pytest.raises(InputError, match=r"^the problem has no rule; give Problem\(rule=\.\.\.\), such as SGD"):
        Problem(convolution()).start()


def test_a_problem_takes_images_of_a_store_too(glyphs: ImageStore) -> None:
    network = seeded(lambda: nn.Sequential(nn.Conv2d(1, 2, 3, 4), nn.Flatten(), nn.Linear(98, 2)))
    trainer = Trainer(
        MetaLearner(Problem(network), CONFIG),
        make_sampler(glyphs, CONFIG, "train", training=True),
        make_sampler(glyphs, CONFIG, "val"),
    )
    assert [record.epoch for record in trainer.epochs()] == [1, 2]


class Restless(nn.Module):
    """A network with a dropout that no evaluation mode switches off."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(F.dropout(x.flatten(1)))  # type: ignore[no-any-return]


class Noisy(SGD):
    """A rule that adds noise to each step."""

    def update(self, *arguments: Any) -> Any:
        moved, state = super().update(*arguments)
        return {name: value + 0.1 * torch.randn_like(value) for name, value in moved.items()}, state


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "make",
    [lambda: Problem(seeded(Restless)), lambda: Problem(seeded(lambda: MLP(64, 2)), rule=Noisy(0.2, 2))],
    ids=["network", "rule"],
)
def test_random_numbers_of_training_and_evaluation_are_the_seeds_alone(
    make: Callable[[], Problem], engine: str
) -> None:
    runs = []
    for before in (0, 1):
        torch.manual_seed(before)
        trainer = train(make(), pictures, engine=engine, inner_lr=0.1)
        found = [evaluate([trainer.learner], Drawn(pictures), 6).loss for _ in range(2)]
        assert found[0] == found[1]
        runs.append((trainer, found))
    assert same(runs[0][0].learner.state(), runs[1][0].learner.state())
    assert runs[0][1] == runs[1][1]


class Telling(nn.Module):
    """A network that returns its answers beside its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.layer(x.flatten(1))
        return logits, logits.argmax(1)


def test_outputs_may_be_whole_numbers_but_have_no_mean_over_an_ensemble() -> None:
    problem = Problem(
        seeded(Telling), lambda out, y: F.cross_entropy(out[0], y), metric=lambda out, y: (out[1] == y).float().mean()
    )
    assert_engines_agree(problem, pictures)
    learners = [MetaLearner(problem, CONFIG) for _ in range(2)]
    with pytest.raises(
        InputError, match=r"^the network returns int64, which has no mean over an ensemble; ensemble = 1 "
    ):
        evaluate(learners, Drawn(pictures), 2)


def test_a_loss_may_have_tensors_of_its_own_that_require_a_gradient() -> None:
    scale = torch.ones((), requires_grad=True)
    problem = Problem(convolution(), lambda out, y: F.cross_entropy(out * scale, y))
    expected = train(Problem(convolution()), pictures, engine="eager").learner.state()
    assert same(train(problem, pictures, engine="eager").learner.state(), expected)
    assert scale.grad is None


def test_a_loss_and_a_metric_may_write_into_their_arguments() -> None:
    def doubled(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.mul_(2), targets.mul_(0))

    def spoiling(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.zero_().argmax(1) == targets.zero_()).to(outputs).mean()

    pure = Problem(convolution(), lambda outputs, y: F.cross_entropy(2 * outputs, 0 * y), metric=lambda outputs, y: 1.0)
    expected = train(pure, pictures)
    found = train(Problem(convolution(), doubled, metric=spoiling), pictures)
    assert same(found.learner.state(), expected.learner.state())
    assert [a.validation for a in found.history] == [b.validation for b in expected.history]


def test_a_network_without_values_tells_the_cost_of_a_task_but_is_not_trained() -> None:
    network, config = nn.Linear(3, 2, device="meta"), configure("maml", device="cpu")
    meta, _ = Problem(network, rule=SGD(0.1, 1)).start()
    assert meta.model["weight"].is_meta
    with pytest.raises(InputError, match=r"^tensor 'weight' of the network Linear has no values yet; give its values$"):
        MetaLearner(Problem(network), config)
