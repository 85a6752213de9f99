"""The page of ``mamlkit tour``: its table and its figures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from mamlkit.core.config import Config
from mamlkit.core.episodes import EpisodeSampler
from mamlkit.core.system.versions import versions
from mamlkit.show import plots
from mamlkit.show.numbers import percent
from mamlkit.show.report import Picture, picture, render
from mamlkit.training import diagnostics
from mamlkit.training.evaluation import Evaluation
from mamlkit.training.trainer import Trainer

TRACED_TASKS = 16  # test episodes for the batch-norm figure
HEADS = (
    "method",
    "accuracy (%)",
    "recorded (%)",
    "seconds",
    "meta-gradient norm",
    "not finite",
)


@dataclass
class Side:
    """One of the methods: its trainer and its test results, by batch-norm statistics."""

    name: str
    trainer: Trainer
    evaluations: dict[str, Evaluation] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """Its configuration."""
        return self.trainer.learner.config

    def row(self) -> tuple[str, ...]:
        """Return the row of the table, see ``HEADS``."""
        history = self.trainer.history
        norms = [row["grad_norm"] for row in diagnostics.training(history) if math.isfinite(row["grad_norm"])]
        accuracies = (percent(e.accuracy, e.ci95) for e in self.evaluations.values())
        seconds = sum(record.seconds for record in history)
        norm_range = f"{min(norms):.2g} to {max(norms):.2g}" if norms else "never finite"
        return (self.name, *accuracies, f"{seconds:.0f}", norm_range, str(sum(record.nonfinite for record in history)))


def page(sides: Sequence[Side], sampler: EpisodeSampler, options: Mapping[str, int | str]) -> str:
    """Return the HTML page.

    Args:
        sides: the methods, trained and tested; the last one has learned rates.
        sampler: sampler of the test episodes.
        options: the options of the command, for the footer.
    """
    config = sides[0].config
    given = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options.items())
    return render(
        title="MAML and MAML++ side by side",
        lead=f"{config.n_way}-way {config.k_shot}-shot episodes of {config.dataset}. Each method was trained for "
        f"{config.epochs * config.iterations_per_epoch} meta-iterations, from the same weights and on the same "
        f"episodes (seed {config.seed}).",
        heads=HEADS,
        rows=[side.row() for side in sides],
        note=_note(sides[0]),
        pictures=[_accuracy(sides), _meta_gradients(sides), _inner(sides), _drift(sides, sampler), _rates(sides[-1])],
        details=[
            *((f"Configuration of {side.name}", _lines(side.config)) for side in sides),
            ("Versions", "\n".join(f"{key} = {value}" for key, value in versions().items())),
        ],
        footer=f"Made by: mamlkit tour {given}. SHA-256 of the data: {sampler.store.sha256}.",
    )


def _note(side: Side) -> str:
    episodes = next(iter(side.evaluations.values())).episodes
    return (
        f"Intervals are 95 %, over {episodes} test episodes, for one seed: they say how well these weights do, not "
        "how another seed would do. The first accuracy normalises the query set by its own statistics, so that a "
        'prediction depends on the other query images (transductive); "recorded" uses the statistics recorded in '
        f"training. Guessing gives {100 / side.config.n_way:.0f} %."
    )


def _lines(config: Config) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in config.to_dict().items())


def _accuracy(sides: Sequence[Side]) -> Picture:
    rows = {side.name: diagnostics.validation(side.trainer.history) for side in sides}
    figure = _figure()
    plots.accuracy_curves(figure.subplots(), rows, chance=1 / sides[0].config.n_way)
    last = ", ".join(f"{name} {100 * row[-1]['accuracy']:.1f} %" for name, row in rows.items())
    return picture(
        figure,
        title="Accuracy while training",
        caption=f"On the same validation episodes after each epoch; the bands are 95 % intervals. At the end: {last}.",
        alt=f"Validation accuracy against meta-iterations. At the end: {last}.",
    )


def _meta_gradients(sides: Sequence[Side]) -> Picture:
    rows = {side.name: diagnostics.training(side.trainer.history) for side in sides}
    figure = _figure()
    plots.meta_gradient_norms(figure.subplots(), rows)
    ranges = ", ".join(f"{side.name} {side.row()[4]}" for side in sides)
    first_order = sum(not i.second_order for record in sides[-1].trainer.history for i in record.iterations)
    return picture(
        figure,
        title="The meta-gradient",
        caption=f"Its norm at each meta-iteration, before any clipping. Range: {ranges}. The first {first_order} "
        f"iterations of {sides[-1].name} are first-order.",
        alt=f"Norm of the meta-gradient against meta-iterations, log axis. {ranges}.",
    )


def _inner(sides: Sequence[Side]) -> Picture:
    figure = _figure()
    axes = figure.subplots(1, len(sides), sharey=True)
    for side, ax in zip(sides, axes):
        plots.inner_gradient_norms(ax, diagnostics.inner_grad_norms(side.trainer.history))
        ax.set_title(side.name)
    ends = "; ".join(f"{side.name} {_falls(side)}" for side in sides)
    return picture(
        figure,
        title="Gradients inside the inner loop",
        caption=f"Norm of the support gradient at each inner step, mean over tasks, while training. In the last epoch, "
        f"from the first step to the last: {ends}.",
        alt=f"Norm of the support gradient for each inner step, log axis. {ends}.",
    )


def _falls(side: Side) -> str:
    last = [iteration.inner_grad_norms for iteration in side.trainer.history[-1].iterations if iteration.finite]
    means = [sum(values) / len(values) for values in zip(*last)]
    return f"{means[0]:.2g} to {means[-1]:.2g}" if means else "never finite"


def _drift(sides: Sequence[Side], sampler: EpisodeSampler) -> Picture:
    figure = _figure()
    axes = figure.subplots(1, len(sides), sharey=True)
    furthest = []
    for side, ax in zip(sides, axes):
        rows = diagnostics.bn_drift(diagnostics.trace_batch(side.trainer.learner, sampler.batch(0, TRACED_TASKS)))
        plots.drift(ax, rows)
        ax.set_title(side.name)
        top = max(rows, key=lambda row: row["shift"])
        furthest.append(f"{side.name} {top['shift']:.2g} in {top['layer']}")
    words = ", ".join(furthest)
    return picture(
        figure,
        title="Batch norm drifts over the inner steps",
        caption="How far the mean of each layer's channels moves from where it was before the first step, in standard "
        f"deviations, over {TRACED_TASKS} test episodes. Furthest: {words}. One set of statistics cannot fit all "
        "steps; MAML++ keeps one for each.",
        alt=f"Shift of batch-norm means against the inner step, one line for each layer. Furthest: {words}.",
    )


def _rates(side: Side) -> Picture:
    rows = diagnostics.inner_rates(side.trainer.learner)
    start = side.config.inner_lr
    figure = _figure(height=4.6)
    plots.rate_map(figure.subplots(), rows, start=start)
    ends = sorted(rows, key=lambda row: float(row["rate"]))
    words = " to ".join(f"{row['rate']:.3f} ({row['tensor']}, step {row['step']})" for row in (ends[0], ends[-1]))
    return picture(
        figure,
        title=f"The inner rates that {side.name} learned",
        caption=f"One for each tensor and inner step; all began at {start:g} and now span {words}. The rates "
        "of the convolutions' biases stay where they began: the batch norm behind takes any constant out, so the "
        "biases have no gradient, and their rates none.",
        alt=f"Heat map of the learned inner rates, tensors by inner steps; they span {words}.",
    )


def _figure(height: float = 4.0) -> Figure:
    return Figure(figsize=(9, height), layout="constrained")
