"""Training: exact resumption, episodes that never come twice, patience, and steps that are not finite."""

from __future__ import annotations

import dataclasses
import math
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import same
from torch import Tensor
from waiting import wait_until

import mamlkit
from mamlkit import Config, Episode, EpochRecord, Evaluation, InputError, Trainer, configure, engines, evaluate
from mamlkit.core.episodes import EpisodeSampler, ImageStore
from mamlkit.core.networks import MLP
from mamlkit.core.problem import Problem
from mamlkit.datasets.sinusoids import Sinusoids
from mamlkit.training.evaluation import Sampler
from mamlkit.training.history import Iteration, best_epochs
from mamlkit.training.learner import MetaLearner
from mamlkit.training.parallel import Ranks
from mamlkit.training.trainer import make_sampler

PACKAGE = Path(mamlkit.__file__).parent
SIZES: dict[str, Any] = dict(
    n_way=2, k_shot=1, q_query=1, eval_query=2, filters=3, n_steps=2, n_tasks=2, val_episodes=4
)
TINY = configure("mamlpp", epochs=3, iterations_per_epoch=2, **SIZES)


def but(**values: Any) -> Config:
    return Config.from_dict(values, TINY)


def snapshot(trainer: Trainer | MetaLearner) -> dict[str, Tensor]:
    learner = trainer.learner if isinstance(trainer, Trainer) else trainer
    return {name: tensor.detach().clone() for name, tensor in learner.state().items()}


def timeless(history: list[EpochRecord]) -> list[EpochRecord]:
    return [dataclasses.replace(record, seconds=0.0) for record in history]


@dataclass
class Listening:
    """A sampler that writes down which episodes are asked for, and spoils some of them."""

    inner: Sampler
    spoilt: tuple[int, ...] = ()
    asked: list[int] = field(default_factory=list)
    threads: set[threading.Thread] = field(default_factory=set)

    def batch(self, first_index: int, n_tasks: int) -> Episode:
        indices = range(first_index, first_index + n_tasks)
        self.asked += indices
        self.threads.add(threading.current_thread())
        batch = self.inner.batch(first_index, n_tasks)
        bad = torch.tensor([index in self.spoilt for index in indices])
        support_x = batch.support_x.masked_fill(bad.view(-1, 1, 1, 1, 1), torch.inf)
        return batch._replace(support_x=support_x)

    def wait_for(self, n: int) -> None:
        """Wait until ``n`` episodes were asked for."""
        wait_until(lambda: len(self.asked) >= n)
        assert len(self.asked) == n

    def assert_over(self) -> None:
        """Check that another thread asked, and that it has ended."""
        others = self.threads - {threading.current_thread()}
        assert others
        assert not any(thread.is_alive() for thread in others)


@pytest.fixture(scope="module")
def straight(glyphs: ImageStore) -> Trainer:
    """A run from its first to its last epoch; for reading only."""
    trainer = Trainer.from_config(TINY, glyphs)
    assert list(trainer.epochs()) == trainer.history
    return trainer


def test_epochs_are_counted_and_described(straight: Trainer) -> None:
    assert [record.epoch for record in straight.history] == [1, 2, 3]
    iterations = [i for record in straight.history for i in record.iterations]
    assert [i.iteration for i in iterations] == [1, 2, 3, 4, 5, 6]
    assert [i.second_order for i in iterations] == [False, False, True, True, True, True]  # the first third
    assert iterations[0].outer_lr == 1e-3 == iterations[1].outer_lr > iterations[2].outer_lr > iterations[5].outer_lr
    assert all(i.finite and len(i.inner_grad_norms) == 2 for i in iterations)
    for record in straight.history:
        assert record.seconds > 0
        assert record.train_loss == sum(i.loss for i in record.iterations) / 2
        assert record.train_accuracy == sum(i.accuracy for i in record.iterations) / 2


def test_an_iteration_is_described_by_its_own_meta_step(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(TINY, glyphs)
    step = trainer.learner.meta_step(trainer.train.batch(0, 2), epoch=0)
    squares = [float(g.square().sum()) for g in (*step.gradient.model.values(), step.gradient.inner_lrs)]
    inner = step.trace.grad_norm.norm(dim=2)  # [T, K, n_adapted] -> [T, K]
    first = next(trainer.epochs()).iterations[0]
    assert first.loss == float(step.loss)
    assert first.accuracy == float(step.trace.query_metric[:, -1].mean())
    assert first.grad_norm == pytest.approx(math.sqrt(sum(squares)))
    assert first.inner_grad_norms == pytest.approx((inner.mean(0)).tolist())


def test_validation_follows_training_and_changes_nothing(straight: Trainer) -> None:
    found = evaluate([straight.learner], straight.val, 4)
    assert straight.history[-1].validation == found
    assert found.episodes == 4


def test_epochs_can_be_left_and_taken_up_again(straight: Trainer, glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(TINY, glyphs)
    for _ in range(3):
        next(trainer.epochs())
    assert timeless(trainer.history) == timeless(straight.history)
    assert same(snapshot(trainer), snapshot(straight))
    assert list(trainer.epochs()) == []


def test_another_trainer_goes_on_from_the_history_and_the_state(straight: Trainer, glyphs: ImageStore) -> None:
    first, second = (Trainer.from_config(TINY, glyphs) for _ in range(2))
    next(first.epochs())
    second.history = list(first.history)
    second.learner.load_state(snapshot(first))
    assert [record.epoch for record in second.epochs()] == [2, 3]
    assert timeless(second.history) == timeless(straight.history)
    assert same(snapshot(second), snapshot(straight))


def test_no_training_episode_comes_twice_and_validation_episodes_are_always_the_same(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(TINY, glyphs)
    trainer.train, trainer.val = Listening(trainer.train), Listening(trainer.val)
    list(trainer.epochs())
    assert trainer.train.asked == list(range(3 * 2 * 2))
    assert trainer.val.asked == 3 * [0, 1, 2, 3]


def test_a_meta_batch_that_was_drawn_ahead_of_a_stop_is_the_first_after_it(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(TINY, glyphs)
    trainer.train = Listening(trainer.train)
    next(trainer.epochs())
    assert trainer.train.asked == [0, 1, 2, 3, 4, 5]
    list(trainer.epochs())
    assert trainer.train.asked[6:] == list(range(4, 3 * 2 * 2))


class Unconnected(Ranks):
    """A place among processes of which the others add nothing."""

    def total(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [*tensors]

    gather = total


def test_one_of_two_processes_draws_its_own_tasks_and_episodes_alone(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(but(val_episodes=7), glyphs, ranks=Unconnected(1, 2, 1))
    trainer.train, trainer.val = Listening(trainer.train), Listening(trainer.val)
    list(trainer.epochs())
    assert trainer.train.asked == [1, 3, 5, 7, 9, 11]
    assert trainer.val.asked == 3 * [4, 5, 6]  # the first four are one chunk


def test_the_engine_is_made_for_the_tasks_of_its_own_process(
    glyphs: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    prepare = engines.prepare

    def listen(problem: Problem, config: Config, batch: Episode, **settings: Any) -> engines.Choice:
        asked.append(len(batch.support_x))
        return prepare(problem, config, batch, **settings)

    monkeypatch.setattr(engines, "prepare", listen)
    for size in (1, 2):
        next(Trainer.from_config(TINY, glyphs, ranks=Unconnected(0, size, 0)).epochs())
    assert asked == [2, 1]


def test_tasks_that_the_processes_cannot_share_are_refused(glyphs: ImageStore) -> None:
    with pytest.raises(InputError, match="n_tasks = 2 cannot be split over 3 processes; 1 or 2 are allowed"):
        Trainer.from_config(TINY, glyphs, ranks=Ranks(0, 3, 0))


def test_a_progress_bar_hears_of_each_iteration_in_time(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(but(epochs=1), glyphs)
    heard: list[Any] = []
    list(trainer.epochs(on_iteration=lambda iteration: heard.append((iteration, len(trainer.history)))))
    assert heard == [(iteration, 0) for iteration in trainer.history[0].iterations]


def test_the_next_meta_batch_is_drawn_while_an_iteration_goes_on_and_none_beyond_the_run(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(but(iterations_per_epoch=3), glyphs)
    trainer.train = sampler = Listening(trainer.train)
    due = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 9}  # batches, by the iteration that has just ended
    for record in trainer.epochs(on_iteration=lambda i: sampler.wait_for(2 * due[i.iteration])):
        assert len(sampler.asked) == 2 * due[3 * record.epoch]
    sampler.assert_over()


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_no_thread_stays_behind_where_a_run_is_interrupted(glyphs: ImageStore, error: type[BaseException]) -> None:
    def interrupt(iteration: Iteration) -> None:
        if iteration.iteration == 2:
            raise error("enough")

    trainer = Trainer.from_config(but(iterations_per_epoch=9), glyphs)
    trainer.train = sampler = Listening(trainer.train)
    with pytest.raises(error, match="enough"):
        list(trainer.epochs(on_iteration=interrupt))
    sampler.assert_over()
    assert sampler.asked == [0, 1, 2, 3, 4, 5]


def test_no_thread_stays_behind_where_a_step_that_is_not_finite_stops_the_run(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(TINY, glyphs)
    trainer.train = sampler = Listening(trainer.train, spoilt=(0,))
    with pytest.raises(InputError, match="the meta-gradient of iteration 1 is not finite"):
        list(trainer.epochs())
    sampler.assert_over()


def test_what_the_sampler_raises_comes_out_as_it_is_after_the_iterations_before(glyphs: ImageStore) -> None:
    class Broken(Listening):
        def batch(self, first_index: int, n_tasks: int) -> Episode:
            if first_index == 2:
                raise OSError("the disk is gone")
            return super().batch(first_index, n_tasks)

    trainer = Trainer.from_config(TINY, glyphs)
    trainer.train = Broken(trainer.train)
    heard: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        list(trainer.epochs(on_iteration=lambda iteration: heard.append(iteration.iteration)))
    assert heard == [1]
    assert trainer.history == []


def test_equal_seeds_give_equal_runs_and_another_seed_another(straight: Trainer, glyphs: ImageStore) -> None:
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    again, other = (Trainer.from_config(but(seed=seed), glyphs) for seed in (0, 1))
    assert not torch.equal(again.learner.params["head.weight"], other.learner.params["head.weight"])
    assert not torch.equal(again.train.batch(0, 1).support_x, other.train.batch(0, 1).support_x)
    list(again.epochs())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert timeless(again.history) == timeless(straight.history)
    assert same(snapshot(again), snapshot(straight))
    assert next(other.epochs()).train_loss != straight.history[0].train_loss


def test_each_split_is_sampled_as_the_configuration_says(glyphs: ImageStore) -> None:
    config = but(q_query=3, k_shot=2, rotation="classes", seed=5)
    for split, q_query in (("train", 3), ("val", 2), ("test", 2)):
        expected = EpisodeSampler(glyphs, split, n_way=2, k_shot=2, q_query=q_query, seed=5, rotation="classes")
        sampler = make_sampler(glyphs, config, split, training=split == "train")
        for a, b in zip(sampler.batch(7, 2), expected.batch(7, 2)):
            assert torch.equal(a, b)


def test_the_training_split_may_be_evaluated_on_as_the_others_are(glyphs: ImageStore) -> None:
    config = but(q_query=3, rotation="episodes", seed=5)
    expected = EpisodeSampler(glyphs, "train", n_way=2, k_shot=1, q_query=config.eval_query, seed=5)
    for a, b in zip(make_sampler(glyphs, config, "train").batch(7, 2), expected.batch(7, 2)):
        assert torch.equal(a, b)


def test_what_the_data_cannot_supply_is_refused(glyphs: ImageStore) -> None:
    with pytest.raises(InputError, match="n_way = 106 is more than the 105 classes in the val split of glyphs"):
        Trainer.from_config(but(n_way=106), glyphs)
    with pytest.raises(InputError, match=r"k_shot \+ q_query = 1 \+ 20 is more than the 20 images of class"):
        Trainer.from_config(but(q_query=20), glyphs)


def past(*validations: tuple[float, float]) -> list[EpochRecord]:
    """Return epochs of which only validation accuracy and loss are known."""
    evaluations = [Evaluation(accuracy, 0.0, loss, 4, "batch") for accuracy, loss in validations]
    return [EpochRecord(epoch, (), evaluation, 1.0) for epoch, evaluation in enumerate(evaluations, 1)]


def test_the_best_epochs_have_the_best_accuracy_and_of_equals_the_earlier_one() -> None:
    history = past((0.5, 9), (0.7, 1), (0.6, 1), (0.7, 0), (0.1, 0))
    assert best_epochs(history, 3) == [2, 4, 3]
    assert best_epochs(history, 1) == [2]
    assert best_epochs(history, 9) == [2, 4, 3, 1, 5]
    assert best_epochs([], 3) == []
    # A regression has no accuracy: the lowest loss is the best.
    assert best_epochs(past((math.nan, 2.0), (math.nan, 1.0), (math.nan, 1.5), (math.nan, 1.0)), 3) == [2, 4, 3]


@pytest.mark.parametrize(
    ("patience", "accuracies", "stopped"),
    [
        (0, (0.9, 0.1, 0.1, 0.1, 0.1), False),
        (2, (), False),
        (2, (0.9, 0.1), False),
        (2, (0.9, 0.1, 0.1), True),
        (2, (0.5, 0.1, 0.6, 0.1), False),
        (2, (0.5, 0.5, 0.5), True),  # an equal one is not better
        (1, (0.5, 0.6), False),
    ],
)
def test_patience_counts_the_epochs_since_the_best(
    glyphs: ImageStore, patience: int, accuracies: tuple[float, ...], stopped: bool
) -> None:
    trainer = Trainer.from_config(but(patience=patience), glyphs)
    trainer.history = past(*((accuracy, 1.0) for accuracy in accuracies))
    assert trainer.stopped_early is stopped


def test_a_run_that_never_gets_better_stops(glyphs: ImageStore) -> None:
    config = but(epochs=9, iterations_per_epoch=1, patience=2, outer_lr=0.0, cosine_lr=False, n_tasks=1)
    trainer = Trainer.from_config(config, glyphs)
    assert [record.epoch for record in trainer.epochs()] == [1, 2, 3]
    assert trainer.stopped_early
    assert list(trainer.epochs()) == []


def infinite_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets) * torch.inf


@pytest.mark.parametrize("cause", ["rate", "loss"])
def test_a_step_that_is_not_finite_stops_the_run_in_one_sentence(glyphs: ImageStore, cause: str) -> None:
    trainer = Trainer.from_config(but(inner_lr=1e30 if cause == "rate" else 0.1), glyphs)
    if cause == "loss":
        problem = Problem(trainer.learner.problem.network, loss=infinite_loss)
        trainer = Trainer(MetaLearner(problem, TINY), trainer.train, trainer.val)
    before = snapshot(trainer)
    sentence = (
        r"^the meta-gradient of iteration 1 is not finite \(meta-loss (nan|inf)\), and on_nonfinite is 'stop'; lower "
        r"inner_lr = (1e\+30|0\.1) or outer_lr = 0\.001, set grad_clip, or set on_nonfinite to 'skip'$"
    )
    with pytest.raises(InputError, match=sentence):
        list(trainer.epochs())
    assert trainer.history == []
    assert same(before, snapshot(trainer))


def test_only_the_steps_that_are_not_finite_are_skipped_and_counted(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(but(on_nonfinite="skip"), glyphs)
    trainer.train = Listening(trainer.train, spoilt=(3, 8, 9))  # of iterations 2, 5 and 5
    list(trainer.epochs())
    assert [i.finite for record in trainer.history for i in record.iterations] == [True, False, True, True, False, True]
    assert [record.nonfinite for record in trainer.history] == [1, 0, 1]
    assert trainer.history[0].train_loss == trainer.history[0].iterations[0].loss
    assert trainer.history[0].train_accuracy == trainer.history[0].iterations[0].accuracy
    assert all(bool(tensor.isfinite().all()) for tensor in snapshot(trainer).values())
    assert snapshot(trainer)["adam/0/step"] == 4


def test_where_every_step_is_skipped_the_weights_stay_and_the_means_are_nan(glyphs: ImageStore) -> None:
    trainer = Trainer.from_config(but(on_nonfinite="skip", inner_lr=1e30, epochs=1), glyphs)
    before = snapshot(trainer)
    [record] = trainer.epochs()
    assert (record.nonfinite, str(record.train_loss), str(record.train_accuracy)) == (2, "nan", "nan")
    assert same(before, snapshot(trainer))


@pytest.mark.parametrize("part", ["rates", "weights", "loss", "buffers"])
def test_one_number_that_is_not_finite_anywhere_is_enough(glyphs: ImageStore, part: str) -> None:
    learner = Trainer.from_config(but(grad_clip=1e-3, grad_clamp=1e-4), glyphs).learner
    step = learner.meta_step(make_sampler(glyphs, TINY, "train").batch(0, 2), epoch=0)
    parts = dict(rates=step.gradient.inner_lrs, weights=step.gradient.model["head.bias"], loss=step.loss)
    parts["buffers"] = step.buffers["norms.3.running_var"]
    parts[part].view(-1)[-1] = torch.nan
    before = snapshot(learner)
    assert not learner.apply(step, epoch=0)
    assert same(before, learner.state())


def test_a_regression_on_sinusoids_learns() -> None:
    sizes: dict[str, Any] = dict(n_steps=2, n_tasks=8, tasks_per_chunk=8, epochs=4, iterations_per_epoch=25)
    config = Config(inner_lr=0.02, outer_lr=0.01, val_episodes=40, **sizes)
    torch.manual_seed(0)
    learner = MetaLearner(Problem(MLP(1, 1, hidden=(20, 20)), F.mse_loss), config)
    trainer = Trainer(learner, Sinusoids("train"), Sinusoids("val"))
    before = evaluate([learner], trainer.val, 40).loss
    losses = [record.train_loss for record in trainer.epochs()]
    assert losses[-1] < 0.8 * losses[0]
    assert trainer.history[-1].validation.loss < 0.6 * before
    assert math.isnan(trainer.history[-1].validation.accuracy)


def test_a_step_of_training_passes_at_most_four_rooms_from_the_sampler_to_the_gradient() -> None:
    rooms: set[str] = set()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        files = (Path(frame.filename) for frame in traceback.extract_stack())
        rooms.update(file.relative_to(PACKAGE).parts[0] for file in files if PACKAGE in file.parents)
        return F.mse_loss(outputs, targets)

    config = Config(backbone="mlp", inner_lr=0.01, n_steps=2, n_tasks=2, epochs=1, iterations_per_epoch=1, device="cpu")
    waves = Sinusoids(k_shot=3, q_query=3, seed=0)
    next(Trainer(MetaLearner(Problem(MLP(1, 1), loss), config), waves, waves).iterations())
    assert rooms <= {"training", "engines", "core"}
    assert "core" in rooms


def test_an_epoch_keeps_the_largest_norm_of_each_tensor_and_step_over_all_its_tasks(glyphs: ImageStore) -> None:
    trainer, seen = Trainer.from_config(but(epochs=2, n_tasks=2), glyphs), list[Tensor]()
    step = trainer.learner.meta_step

    def watched(batch: Episode, epoch: int) -> Any:
        found = step(batch, epoch)
        seen.append(found.trace.grad_norm.clone())  # [T, K, n_adapted]
        if len(seen) == 2:  # of what is not a number nothing remains, of infinity the largest number
            found.trace.grad_norm[0, 0, 0], found.trace.grad_norm[0, 0, 1] = math.nan, math.inf
        return found

    trainer.learner.meta_step = watched  # type: ignore[method-assign]
    history = list(trainer.epochs())
    assert torch.equal(torch.tensor(history[1].largest_inner_grad_norms), torch.cat(seen[2:]).amax(0))
    first, expected = torch.tensor(history[0].largest_inner_grad_norms), torch.cat(seen[:2]).amax(0)
    assert first[0, 1] == torch.finfo(torch.float32).max
    assert first[0, 0] == torch.cat([seen[0][:, 0, 0], seen[1][1:, 0, 0]]).max()
    assert torch.equal(first[1], expected[1])
    assert len(first[0]) == len(trainer.learner.rows)
