"""The weights of the multi-step loss over the epochs, and the resulting gradient at each inner step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, decades, read_script


class WeightsExplorer(Explorer):
    """Vary the epoch and the inner steps, choose a schedule; show the weights, and the gradients at each step.

    Args:
        weights: [V, N, E, K] weight of the query loss after each of K inner steps, for V schedules, 1 to N = K inner
            steps, and E epochs. Entries beyond the number of steps are ignored, here and below.
        direct: [V, N, E, K] norm of the gradient of a step's own query loss with respect to the parameters after the
            step.
        chained: [V, N, E, K] norm of the gradient from the losses of later steps.
        plain: [N, K] norm of the whole gradient in plain MAML, where only the last loss counts.
        schedules: names of the V schedules.
        title: the title above the figure.
        at: initial positions of (epoch, inner steps - 1, schedule).

    Raises:
        InputError: the tables differ in shape, or the names do not match them.
    """

    _esm = read_script("explorer.js", "weights.js")

    def __init__(
        self,
        weights: NDArray[Any],
        direct: NDArray[Any],
        chained: NDArray[Any],
        plain: NDArray[Any],
        *,
        schedules: Sequence[str],
        title: str = "What every inner step gets",
        at: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        n_steps, epochs = plain.shape[-1], weights.shape[-2]
        shape = (len(schedules), n_steps, epochs, n_steps)
        shapes = {"weights": weights.shape, "direct": direct.shape, "chained": chained.shape}
        wrong = {name: given for name, given in shapes.items() if given != shape}
        if wrong or plain.shape != (n_steps, n_steps):
            given = ", ".join(f"{name} {list(size)}" for name, size in {**shapes, "plain": plain.shape}.items())
            raise InputError(
                f"the tables have shapes {given}; {len(schedules)} schedules need "
                f"[{len(schedules)}, K, E, K] three times and [K, K]"
            )
        controls = [
            Control("epoch", [str(epoch) for epoch in range(epochs)], at[0]),
            Control("inner steps", [str(n + 1) for n in range(n_steps)], at[1]),
            Control("schedule", list(schedules), at[2], "choice"),
        ]
        arrays = {"weights": weights, "direct": direct, "chained": chained, "plain": plain}
        spec = {"range": decades(np.concatenate([_read(table) for table in (direct, chained, plain)]))}
        super().__init__(arrays, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the weights on the left and the gradients on the right."""
        epoch, last, schedule = at
        steps = np.arange(1, last + 2)
        left, right = figure.subplots(1, 2, width_ratios=[2, 3])
        left.bar(steps, self.arrays["weights"][schedule, last, epoch, : last + 1], color="#2077c4")
        left.set(ylim=(0, 1), xlabel="inner step", title=f"weights, epoch {epoch}", xticks=steps)
        direct, chained = (self.arrays[name][schedule, last, epoch, : last + 1] for name in ("direct", "chained"))
        low, high = (10.0**power for power in self.spec["range"])
        for shift, values, label, style in (
            (-0.27, direct, "direct", {"color": "#2077c4"}),
            (0.0, chained, "through later steps", {"color": "#c65f00"}),
            (0.27, self.arrays["plain"][last, : last + 1], "plain MAML, all", {"fc": "none", "ec": "#333333"}),
        ):
            right.bar(steps + shift, np.nan_to_num(values, posinf=0), 0.25, label=label, **style)
        right.set(yscale="log", ylim=(low, high), xlabel="inner step", title="gradient, norm", xticks=steps)
        figure.legend(loc="outside lower center", ncols=3)


def _read(table: NDArray[Any]) -> NDArray[Any]:
    """Return the entries that are used: [..., n, (E,) k] with k < n + 1."""
    n_steps = table.shape[-1]
    steps = np.arange(n_steps)
    used = steps[None, :] <= steps[:, None]  # [N, K]
    return table[np.broadcast_to(used if table.ndim == 2 else used[:, None], table.shape)]
