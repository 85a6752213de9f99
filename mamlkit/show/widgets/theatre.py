"""A meta-training to watch, pause, restart, and steer by its inner rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.episodes import as_bytes
from mamlkit.core.errors import InputError
from mamlkit.show.live.theatre import Theatre
from mamlkit.show.widgets.explorer import Control, read_script, read_style
from mamlkit.show.widgets.fit import COLOURS
from mamlkit.show.widgets.probabilities import paint_bars, show_picture
from mamlkit.show.widgets.stage import ENDED, StageFigure

RATES = tuple(float(f"{10 ** (place / 20 - 2):.2g}") for place in range(53))  # 0.01 .. 4, twenty values to a decade
RECENT = 20  # meta-iterations in the mean of the thick curves


class TrainingTheatre(StageFigure[Theatre]):
    """Watch a training: meta-loss, query accuracy, batch-norm drift, meta-gradients by step, and one fixed drawing.

    Args:
        make: (recipe, inner rate) -> a theatre that has not started; called immediately and at Start over. All theatres
            have the same sizes and the same fixed task.
        recipes: recipe -> its name for the reader; the first recipe is the initial one.
        rate: initial position of the slider, one of ``RATES``.
        ahead: number of meta-iterations to run immediately.
        title: the title above the figure.

    Attributes:
        theatre: the present training.
        recipe: its recipe.

    Raises:
        InputError: ``rate`` is not one of ``RATES``; or an error of ``make``.

    Writes: ``theatre`` and, up to four times a second, the browser's copy of its data. Without a kernel a still picture
        is shown.
    """

    _esm = read_script("classes.js", "curves.js", "theatre.js", "stage.js")
    _css = read_style("curves.css", "theatre.css")

    def __init__(
        self,
        make: Callable[[str, float], Theatre],
        recipes: Mapping[str, str],
        *,
        rate: float = 0.1,
        ahead: int = 0,
        title: str = "Training theatre",
    ) -> None:
        if rate not in RATES:
            nearest = min(RATES, key=lambda place: abs(place - rate))
            raise InputError(f"rate = {rate:g} is not a place of the slider; the nearest is {nearest:g}")
        self.make, self.recipes = make, dict(recipes)
        self.recipe = next(iter(recipes))
        self.theatre = make(self.recipe, rate)
        self.take_the_stage()
        self.theatre.advance(ahead)
        task, query, config = self.theatre.task, self.theatre.query, self.theatre.config
        pictures = {"support": as_bytes(task.support_x[:: config.k_shot]), "query": as_bytes(task.query_x[query])}
        _, channels, side, _ = pictures["support"].shape
        spec = {
            "classes": ["theatre"],
            "total": self.theatre.total,
            "steps": config.n_steps,
            "truth": int(task.query_y[query]),
            "recent": RECENT,
            "side": side,
            "channels": channels,
        }
        controls = [
            Control("inner rate", [f"{place:g}" for place in RATES], RATES.index(rate)),
            Control("recipe", list(recipes.values()), 0, "choice"),
        ]
        super().__init__(pictures, title=title, controls=controls, spec=spec)
        self.show()
        self.observe(self._moved, "at")
        self.on_msg(self.pressed)

    def anew(self) -> Theatre:
        """Return a theatre for the selected recipe and inner rate."""
        place, choice = self.at
        recipe = list(self.recipes)[choice]
        theatre = self.make(recipe, RATES[place])
        self.recipe = recipe
        return theatre

    def _moved(self, change: dict[str, Any]) -> None:
        (before, _), (place, choice) = change["old"], change["new"]
        rate, name, training = RATES[place], self.recipes[self.recipe], self.stage not in ENDED
        if place == before:
            self.said = f"Start over will train {list(self.recipes.values())[choice]}; this is {name}."
        elif not training:
            self.said = f"Start over will begin at inner rate {rate:g}."
        elif self.theatre.config.learn_inner_lrs:
            factor = f"{rate:g} / {self.theatre.rate:g}"
            self.said = f"From the next meta-iteration on, {name}'s learned rates are all multiplied by {factor}."
        else:
            self.said = f"From the next meta-iteration on, all inner rates are {rate:g}."
        self.theatre.set_rate(rate)

    def sentence(self, stage: str) -> str:
        """Return what the reader is told at the beginning of a stage."""
        done = self.theatre.done
        return {
            "ready": f"{done} of {self.theatre.total} meta-iterations are done. Press Start.",
            "training": f"{self.recipes[self.recipe]} is training.",
            "paused": f"Paused after {done} meta-iterations.",
            "finished": f"Finished: all {done} meta-iterations are done. Start over trains anew.",
            "failed": f"The training stopped: {self.reason()}. Start over trains anew.",
        }[stage]

    @property
    def places(self) -> str:
        """The recipe and the progress of the training in words."""
        done = len(self.theatre.history)
        return f"{self.recipes[self.recipe]}, inner rate {self.theatre.rate:g}, after {done} meta-iterations"

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the curves, the meta-gradients by step, and the fixed drawing with its probabilities."""
        figure.set_size_inches(9, 5.4)
        loss, accuracy, drift, norms, drawing, bars = figure.subplot_mosaic("LLAADD\nNNQBBB").values()
        arrays = self.arrays
        _paint_curve(loss, arrays["loss"], "meta-loss (nats)")
        _paint_curve(accuracy, 100 * arrays["accuracy"], "query accuracy (%)")
        drift.plot(arrays["at"], arrays["drift"].mean(1), color=COLOURS[0])
        drift.fill_between(arrays["at"], arrays["drift"].min(1), arrays["drift"].max(1), color=COLOURS[0], alpha=0.2)
        drift.set(title="batch-norm drift (sd)", xlabel="meta-iteration")
        norms.semilogy(arrays["norms"][0], "s--", color=COLOURS[1], label="before")
        norms.semilogy(arrays["norms"][-1], "o-", color=COLOURS[0], label="now")
        norms.set(title="meta-gradient norm", xlabel="inner step")
        norms.legend(fontsize="small")
        show_picture(drawing, arrays["query"])
        drawing.set_title("fixed drawing", fontsize="small")
        paint_bars(bars, arrays["probabilities"][-1], arrays["support"], truth=self.spec["truth"], colour=COLOURS[0])
        figure.suptitle(self.places, fontsize="medium")


def recent(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the running mean of the last ``RECENT`` finite values [I]; NaN where the value itself is not finite."""
    windows = [values[max(0, i + 1 - RECENT) : i + 1] for i in range(len(values))]
    means = [w[np.isfinite(w)].mean() if np.isfinite(w[-1]) else np.nan for w in windows]
    return np.array(means, dtype=np.float64)


def _paint_curve(axes: Axes, values: NDArray[Any], title: str) -> None:
    done = np.arange(1, len(values) + 1)
    axes.plot(done, values, color=COLOURS[0], alpha=0.35, lw=1)
    axes.plot(done, recent(values), color=COLOURS[0])
    axes.set(title=title, xlabel="meta-iteration")
