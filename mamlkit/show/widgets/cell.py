"""A cell of the stability atlas to train: the reader chooses it, watches, and sees the outcome marked on the map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.live.cell import CellRun
from mamlkit.show.widgets.atlas import HEAT, cell_controls, paint_map
from mamlkit.show.widgets.explorer import Control, read_script, read_style
from mamlkit.show.widgets.stage import StageFigure
from mamlkit.training.stability import DIVERGED

Place = tuple[int, int, int, int]


class CellTheatre(StageFigure[CellRun]):
    """Train any cell of the atlas: watch meta-loss, meta-gradient and support gradients, and see whether it dies.

    Args:
        make: (network, method, steps, rate), as indices, and a seed -> a run that has not started; called immediately,
            at Start over, and when a control moves while nothing trains.
        dead: [N, M, K, R] number of dead runs of each cell in the atlas.
        accuracy: [N, M, K, R] mean test accuracy in the atlas, fraction.
        axes: the names along [N], [M], [K] and [R].
        runs: number of runs of each cell in the atlas.
        seeds: the seeds to choose from.
        at: initial positions of (network, method, steps, rate, seed).
        title: the title above the figure.

    Attributes:
        theatre: the present training.
        place: the indices of its cell.
        marks: cell and outcome of each finished training, ``(*place, died)``.

    Raises:
        InputError: the names do not match the shape of ``dead``; or an error of ``make``.
    """

    _esm = read_script("curves.js", "atlas_map.js", "cell.js", "stage.js")
    _css = read_style("curves.css", "cell.css")

    def __init__(
        self,
        make: Callable[[Place, int], CellRun],
        *,
        dead: NDArray[Any],
        accuracy: NDArray[Any],
        axes: Sequence[Sequence[str]],
        runs: int,
        seeds: Sequence[int],
        at: Sequence[int] = (0, 0, 0, 0, 0),
        title: str = "Train a cell of the atlas",
    ) -> None:
        controls = cell_controls(dead, axes, at)
        controls.append(Control("seed", [str(seed) for seed in seeds], at[4], "choice"))
        self.make, self.seeds, self.marks = make, list(seeds), list[tuple[int, ...]]()
        self.place: Place = (at[0], at[1], at[2], at[3])
        self.seed = self.seeds[at[4]]
        self.theatre = make(self.place, self.seed)
        self.take_the_stage()
        spec = {"classes": ["cell"], "runs": runs, "total": self.theatre.total, "range": list(HEAT)}
        super().__init__(
            {"dead": dead.astype(np.uint8), "accuracy": accuracy}, title=title, controls=controls, spec=spec
        )
        self.show()
        self.observe(self._moved, "at")
        self.on_msg(self.pressed)

    def anew(self) -> CellRun:
        """Return a run of the chosen cell and seed."""
        network, method, steps, rate, seed = self.at
        run = self.make((network, method, steps, rate), self.seeds[seed])
        self.place, self.seed = (network, method, steps, rate), self.seeds[seed]
        return run

    def news(self) -> dict[str, NDArray[Any]]:
        """Return the measurements, the cell that is trained, and the marks; note a new outcome first.

        Writes: ``marks``.
        """
        outcome = self.theatre.outcome
        if outcome is not None and self.stage not in ("finished", ""):
            self.marks.append((*self.place, int(outcome.state == DIVERGED)))
        marks = np.array(self.marks, dtype=float).reshape(-1, 5)
        return {**self.theatre.snapshot(), "cell": np.array(self.place, dtype=float), "marks": marks}

    def _moved(self, _: Any) -> None:
        if self.stage == "training":
            self.said = f"Start over will train {self.places}."
            return
        try:
            self.theatre = self.anew()
        except InputError as error:
            self.said = str(error)
            return
        self.take_the_stage()
        self.show()
        self.said = self.sentence("ready")

    def sentence(self, stage: str) -> str:
        """Return what the reader is told at the beginning of a stage."""
        return {
            "ready": f"Press Start to train {self.places}.",
            "training": "It is training.",
            "paused": f"Paused after {self.theatre.done} meta-iterations.",
            "finished": self._verdict(),
            "failed": f"The training stopped: {self.reason()}. Start over trains anew.",
        }[stage]

    def _verdict(self) -> str:
        outcome = self.theatre.outcome
        if outcome is None:
            return ""
        died, right = (self.arrays[name][self.place] for name in ("dead", "accuracy"))
        here = f"It died ({outcome.why})" if outcome.state == DIVERGED else "It lives"
        accuracy = f"test accuracy {100 * self.theatre.accuracy:.0f} %"
        committed = f"{died} of {self.spec['runs']} runs died, mean accuracy {100 * right:.0f} %"
        return f"{here}, {accuracy}. In the atlas, {committed}. Start over trains anew."

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the map of the method on the left, and the norm of the meta-gradient on the right."""
        left, right = figure.subplots(1, 2, width_ratios=[3, 4])
        names = [control["values"] for control in self.spec["controls"]]
        network, method, steps, rate, _ = at
        cells = (self.arrays[name][network, method] for name in ("dead", "accuracy"))
        paint_map(left, *cells, runs=self.spec["runs"], steps=names[2], rates=names[3])
        left.plot(rate, steps, "s", ms=22, mfc="none", mec="#d96b00", mew=2)
        left.set_title(f"{names[1][method]}: dead runs · accuracy (%)", fontsize="small")
        norms = self.arrays["grad_norm"]
        right.semilogy(np.where(np.isfinite(norms), norms, np.nan), color="#2077c4")
        right.set(xlabel="meta-iteration", ylabel="norm of the meta-gradient")
