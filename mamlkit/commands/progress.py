"""Progress bars of training and evaluation for all commands."""

from __future__ import annotations

import contextlib
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import click
from tqdm import tqdm

from mamlkit.core.config import Config
from mamlkit.core.episodes import ImageStore
from mamlkit.training.evaluation import Evaluation, evaluate_norms
from mamlkit.training.history import EpochRecord, Iteration
from mamlkit.training.learner import MetaLearner
from mamlkit.training.parallel import ALONE, Ranks
from mamlkit.training.prefetch import Sampler
from mamlkit.training.trainer import Trainer

RECENT = 25  # number of iterations in the bar's mean loss and accuracy


@contextlib.contextmanager
def compiling() -> Iterator[Callable[[int, int], None]]:
    """Show a bar, and yield a function (finished parts, all parts) that moves it."""
    with tqdm(desc="compiling", unit="part", leave=False, dynamic_ncols=True, disable=None) as bar:

        def move(done: int, parts: int) -> None:
            bar.total, bar.n = parts, done
            bar.refresh()

        yield move


def trainer(config: Config, store: ImageStore, *, ranks: Ranks = ALONE) -> Trainer:
    """Return a trainer; choose its engine, compile it under a bar, and print the choice with its reason."""
    with compiling() as move:
        made = Trainer.from_config(config, store, ranks=ranks, on_part=move)
    for sentence in made.choice.why:
        click.echo(sentence)
    return made


def train(trainer: Trainer, title: str, *, position: int = 0) -> Iterator[EpochRecord]:
    """Yield ``trainer.epochs()`` under a bar with loss, accuracy and time left.

    Args:
        trainer: training continues from its present state.
        title: the text before the bar.
        position: the line of the bar, if there are several bars.
    """
    config = trainer.learner.config
    recent: deque[Iteration] = deque(maxlen=RECENT)
    lost = sum(record.nonfinite for record in trainer.history)
    total, done = (epochs * config.iterations_per_epoch for epochs in (config.epochs, len(trainer.history)))
    with tqdm(
        total=total, initial=done, desc=title, unit="it", position=position, dynamic_ncols=True, disable=None
    ) as bar:

        def show(iteration: Iteration) -> None:
            nonlocal lost
            recent.append(iteration)
            lost += not iteration.finite
            loss, accuracy = (statistics.fmean(values) for values in zip(*((i.loss, i.accuracy) for i in recent)))
            bar.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.1%}" + f", {lost} not finite" * bool(lost))
            bar.update()

        yield from trainer.epochs(on_iteration=show)


def say_epoch(record: EpochRecord, epochs: int, *, title: str = "") -> None:
    """Print one line about an epoch above the bars, beginning with ``title``."""
    val = record.validation
    lost = f"  {record.nonfinite} steps not finite" if record.nonfinite else ""
    line = (
        f"{title}{' ' * bool(title)}epoch {record.epoch:>{len(str(epochs))}}/{epochs}  loss {record.train_loss:.3f}  "
        f"accuracy {record.train_accuracy:6.2%}  validation {val.accuracy:6.2%} ± {val.ci95:.2%}  "
        f"{record.seconds:.0f} s{lost}"
    )
    say(line)


def say(line: str) -> None:
    """Print a line above the bars."""
    with tqdm.external_write_mode():
        click.echo(line)


def evaluate_both(learners: Sequence[MetaLearner], sampler: Sampler, episodes: int) -> dict[str, Evaluation]:
    """Return the evaluations with the batch's own statistics (transductive) and with the recorded ones; show a bar."""
    with tqdm(total=episodes, desc="test", unit="episode", leave=False, dynamic_ncols=True, disable=None) as bar:

        def move(done: int) -> None:
            bar.update(done)

        return evaluate_norms(learners, sampler, episodes, on_episodes=move)
