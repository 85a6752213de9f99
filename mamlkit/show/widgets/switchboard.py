"""All combinations of a few fixes over several seeds, beside MAML and MAML++."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.core.system.imports import lazily
from mamlkit.show.widgets.explorer import Control, Explorer, read_script

special = lazily("scipy.special")  # slow to load

STYLES = (("#2077c4", "-", "o"), ("#c65f00", "--", "s"), ("#17805f", ":", "^"))  # chosen, MAML, MAML++


class SwitchboardExplorer(Explorer):
    """Switch each fix on or off; show validation accuracy, test accuracy and meta-gradient norm of the combination.

    Combination ``c`` has fix ``i`` on if bit ``i`` of ``c`` is 1: 0 is MAML, the last one is MAML++. Curves are means
    over seeds, and their bands reach from the lowest to the highest seed. Test intervals are Student's t over seeds;
    differences from MAML are paired by seed.

    Args:
        val: [2 ** F, S, E] validation accuracy (fraction) of each combination, seed and epoch.
        test: [2 ** F, S] test accuracy (fraction).
        grad_norm: [2 ** F, S, E] median norm of the meta-gradient.
        fixes: short name -> long name of the F fixes, one to six.
        iterations: [E] number of meta-iterations after each epoch.
        title: the title above the figure.
        on: short names of the fixes that are on at the start.

    Raises:
        InputError: the shapes do not match, a fix is unknown, or there are fewer than two seeds.
    """

    _esm = read_script("explorer.js", "switchboard.js")

    def __init__(
        self,
        val: NDArray[Any],
        test: NDArray[Any],
        grad_norm: NDArray[Any],
        *,
        fixes: Mapping[str, str],
        iterations: Sequence[int],
        title: str = "MAML++ by its switches",
        on: Sequence[str] = (),
    ) -> None:
        _check(val, test, grad_norm, fixes=fixes, n_epochs=len(iterations))
        unknown = sorted(set(on) - set(fixes))
        if unknown:
            raise InputError(f"on = {', '.join(unknown)} is no fix; choose of {', '.join(fixes)}")
        gain, gain_half = mean_t95(test - test[0])
        mean, half = mean_t95(test)
        arrays = {
            "val": np.stack([val.mean(1), val.min(1), val.max(1)], axis=1),  # -> [2 ** F, mean low high, E]
            "test": np.stack([mean, half, gain, gain_half], axis=1),  # -> [2 ** F, 4]
            "norm": np.median(grad_norm, axis=1),  # -> [2 ** F, E]
        }
        spec = {
            "fixes": list(fixes),
            "iterations": list(iterations),
            "seeds": test.shape[1],
            **_axes(arrays["val"], arrays["test"], arrays["norm"]),
        }
        controls = [Control(name, ["off", "on"], int(key in on), "choice") for key, name in fixes.items()]
        super().__init__(arrays, title=title, controls=controls, spec=spec)

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the validation curves, the test accuracies and the gradient norms."""
        figure.set_size_inches(8.5, 3.8)
        left, middle, right = figure.subplots(1, 3, width_ratios=[2, 1.1, 1.3])
        x, last = self.spec["iterations"], len(self.arrays["test"]) - 1
        chosen = sum(switch << i for i, switch in enumerate(at))
        for i, (c, name) in enumerate([(chosen, "chosen"), (0, "MAML"), (last, "MAML++")]):
            colour, dash, marker = STYLES[i]
            mean, low, high = 100 * self.arrays["val"][c]
            left.plot(x, mean, dash, color=colour, label=self._name(at) if i == 0 else name)
            left.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
            accuracy, half, *_ = 100 * self.arrays["test"][c]
            middle.errorbar(i, accuracy, half, fmt=marker, color=colour, capsize=4)
            right.plot(x, self.arrays["norm"][c], dash, color=colour)
        left.set(xlabel="meta-iteration", title="validation accuracy (%)")
        middle.set(xticks=range(3), xlim=(-0.6, 2.6), title="test accuracy (%)")
        middle.set_xticklabels(["chosen", "MAML", "MAML++"], fontsize="small")
        right.set(xlabel="meta-iteration", ylim=(0, self.spec["normTop"]), title="norm of the meta-gradient")
        figure.legend(loc="outside lower center", ncols=3, fontsize="small", title=self._difference(chosen))

    def _name(self, at: Sequence[int]) -> str:
        on = [fix for fix, switch in zip(self.spec["fixes"], at) if switch]
        return " + ".join(["MAML", *on])

    def _difference(self, chosen: int) -> str:
        _, _, gain, half = 100 * self.arrays["test"][chosen]
        interval = f"95 % interval {gain - half:+.1f} to {gain + half:+.1f}"
        return f"test accuracy, difference from MAML: {gain:+.1f} points, {interval}"


def mean_t95(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mean over seeds and half the width of its 95 % interval, t * sd / sqrt(S), for ``values`` [..., S]."""
    n = values.shape[-1]
    t = special.stdtrit(n - 1, 0.975)  # the quantile of Student's t for a two-sided interval
    return values.mean(-1), t * values.std(-1, ddof=1) / np.sqrt(n)


def _check(
    val: NDArray[Any], test: NDArray[Any], grad_norm: NDArray[Any], *, fixes: Mapping[str, str], n_epochs: int
) -> None:
    if not 1 <= len(fixes) <= 6:
        raise InputError(f"fixes has {len(fixes)} names; one to six are allowed")
    if test.ndim != 2 or len(test) != 2 ** len(fixes) or test.shape[1] < 2:
        raise InputError(
            f"test has shape {list(test.shape)}; [{2 ** len(fixes)}, seeds] is allowed for {len(fixes)} fixes, "
            "with 2 or more seeds"
        )
    for name, array in (("val", val), ("grad_norm", grad_norm)):
        if array.shape != (*test.shape, n_epochs):
            raise InputError(f"{name} has shape {list(array.shape)}; {[*test.shape, n_epochs]} is allowed")


def _axes(val: NDArray[Any], test: NDArray[Any], norm: NDArray[Any]) -> dict[str, Any]:
    mean, half = test[:, 0], test[:, 1]
    top = float(norm[np.isfinite(norm)].max(initial=0.0)) or 1.0
    return {
        "valTicks": _ticks(100 * val),
        "testTicks": _ticks(100 * np.clip([mean - half, mean + half], 0, 1)),
        "normTop": 1.1 * top,
        "normTicks": _ticks(np.array([0.0, top]))[:-1],
    }


def _ticks(values: NDArray[Any]) -> list[float]:
    """Return a few round numbers; the first and the last enclose all finite values."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    step = next((s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0) if (high - low) / s <= 5), 50.0)
    first, last = int(np.floor(low / step)), int(np.ceil(high / step))
    return [round(step * i, 6) for i in range(first, max(last, first + 1) + 1)]
