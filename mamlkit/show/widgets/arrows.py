"""The second-order and first-order meta-gradients of a problem with two parameters, as arrows at the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.widgets.explorer import Control, Explorer, decades, read_script

ARROW = 0.35  # length of an arrow, as a fraction of half the picture's width


class ArrowExplorer(Explorer):
    """Vary the inner rate, the inner steps and the curvature; show the inner path and the two meta-gradients.

    Args:
        paths: [C, R, K + 1, 2] the parameters after 0..K inner steps, for C curvatures and R rates.
        gradients: [C, R, K + 1, 2, 2] the meta-gradient of the query loss after 0..K steps: second order, then first
            order.
        contours: [C, 2, L, P, 2] L closed contour lines of the support loss, then of the query loss, with P points.
        curvatures: names of the C curvatures.
        rates: [R] the inner rates.
        reach: the picture covers -reach to reach in both directions.
        title: the title above the figure.
        at: initial positions of (inner rate, inner steps, curvature).

    Raises:
        InputError: the shapes or names do not match, or ``reach`` is not positive.
    """

    _esm = read_script("explorer.js", "arrows.js")

    def __init__(
        self,
        paths: NDArray[Any],
        gradients: NDArray[Any],
        contours: NDArray[Any],
        *,
        curvatures: Sequence[str],
        rates: Sequence[float],
        reach: float,
        title: str = "Two meta-gradients",
        at: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        places = (len(curvatures), len(rates), paths.shape[-2])
        fits = paths.shape == (*places, 2) and gradients.shape == (*places, 2, 2)
        if not fits or contours.shape[:2] != (len(curvatures), 2) or contours.shape[-1] != 2 or contours.ndim != 5:
            raise InputError(
                f"paths, gradients and contours have shapes {list(paths.shape)}, {list(gradients.shape)} and "
                f"{list(contours.shape)}; they need [C, R, K + 1, 2], [C, R, K + 1, 2, 2] and [C, 2, L, P, 2] with "
                f"C = {len(curvatures)} curvatures and R = {len(rates)} rates"
            )
        if not reach > 0:
            raise InputError(f"reach = {reach} is not positive; more than 0 is allowed")
        controls = [
            Control("inner rate", [f"{rate:g}" for rate in rates], at[0]),
            Control("inner steps", [str(k) for k in range(places[2])], at[1]),
            Control("curvature", list(curvatures), at[2], "choice"),
        ]
        arrays = {"paths": paths, "gradients": gradients, "contours": contours}
        spec = {"reach": float(reach), "arrow": ARROW, "range": decades(np.linalg.norm(gradients, axis=-1), 1e-2, 1e4)}
        super().__init__(arrays, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw contours and path on the left, and the lengths of the two gradients on the right."""
        rate, step, curvature = at
        reach = self.spec["reach"]
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        for lines, style in zip(self.arrays["contours"][curvature], ({"color": "#999", "ls": ":"}, {"color": "#888"})):
            for line in lines:
                left.fill(*line.T, fill=False, lw=1, **style)
        path = self.arrays["paths"][curvature, rate, : step + 1]
        left.plot(*path.T, "o-", color="#17805f", ms=4)
        gradients = self.arrays["gradients"][curvature, rate, step]  # [2, 2]
        norms = np.linalg.norm(gradients, axis=1)
        labels, colours = ("second order", "first order"), ("#2077c4", "#c65f00")
        for gradient, norm, label, colour, dash in zip(gradients, norms, labels, colours, ("-", "--")):
            if np.isfinite(norm) and norm > 0:
                tip = path[0] - ARROW * reach * gradient / norm  # downhill
                arrow = {"arrowstyle": "-|>", "color": colour, "ls": dash, "lw": 2, "shrinkA": 0, "shrinkB": 0}
                left.annotate("", tip, path[0], arrowprops=arrow)
            right.bar(label, np.nan_to_num(norm, posinf=0.0), color=colour)
        away = "" if _inside(path, reach) else ", path leaves the picture"
        left.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=f"{step} inner steps{away}")
        right.set(
            yscale="log",
            ylim=[10.0**power for power in self.spec["range"]],
            ylabel="length",
            title=f"angle: {_angle(*gradients):.0f} degrees",
        )


def _inside(path: NDArray[Any], reach: float) -> bool:
    return bool((np.abs(path) <= reach).all())


def _angle(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the angle in degrees, or NaN if a vector is zero or not finite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = one / np.linalg.norm(one) @ (other / np.linalg.norm(other))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
