"""The stability atlas that ships with the package: the outcomes of its runs, and the course of one run of each cell.

The file is written by ``python data/build_atlas.py``, from the results of ``mamlkit reproduce atlas``.
Axis letters: ``N`` networks, ``M`` methods, ``K`` numbers of inner steps, ``R`` inner rates, ``S`` seeds, ``I``
meta-iterations, ``E`` epochs, ``L`` layers.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import safe_open

from mamlkit.core.system.files import write_whole

FILE = Path(__file__).parent / "atlas.safetensors"
ABOUT = "about"  # JSON: the fields of Atlas that are no arrays
INNER = "inner_norms."  # followed by the number of inner steps


class Atlas(NamedTuple):
    """The atlas.

    Attributes:
        networks, methods: labels by name, in the order of their axes.
        steps, rates, seeds: the values along their axes.
        layers: number of layers of each network.
        why: for each cell in the order [N, M, K, R], the reason if the run shown is dead, else empty.
        about: ``versions``, the ``command``, and the hash of the data set, ``data_sha256``.
        accuracy: [N, M, K, R, S] test accuracy, fraction; NaN if the run has none.
        dead: [N, M, K, R, S] whether the run diverged, see ``mamlkit.training.stability``.
        largest: [N, M, K, R, S] largest finite norm of a meta-gradient.
        shown: [N, M, K, R] index of the seed whose course is stored: the first dead run, or else the first run.
        loss, grad_norm: [N, M, K, R, I] meta-loss, nats, and norm of the meta-gradient of this run; inf or NaN if it is
            not finite.
        inner_norms: number of inner steps -> [N, M, R, E, steps, L] largest norm of the support gradient of each layer
            at each inner step, by epoch; NaN where a network has fewer layers.
    """

    networks: dict[str, str]
    methods: dict[str, str]
    steps: list[int]
    rates: list[float]
    seeds: list[int]
    layers: list[int]
    why: list[str]
    about: dict[str, Any]
    accuracy: NDArray[Any]
    dead: NDArray[Any]
    largest: NDArray[Any]
    shown: NDArray[Any]
    loss: NDArray[Any]
    grad_norm: NDArray[Any]
    inner_norms: dict[int, NDArray[Any]]

    @property
    def axes(self) -> list[list[str]]:
        """The labels along [N], [M], [K] and [R]."""
        numbers = [[f"{value:g}" for value in values] for values in (self.steps, self.rates)]
        return [list(self.networks.values()), list(self.methods.values()), *numbers]

    def runs(self, network: str, method: str, *, least_steps: int = 0, least_rate: float = 0.0) -> tuple[int, int]:
        """Return the number of dead runs, and of all runs, of a network and a method.

        Args:
            network, method: names.
            least_steps, least_rate: only runs with at least as many inner steps and at least this inner rate count.
        """
        own = self.dead[list(self.networks).index(network), list(self.methods).index(method)]  # [K, R, S]
        chosen = own[[steps >= least_steps for steps in self.steps]][:, [rate >= least_rate for rate in self.rates]]
        return int(chosen.sum()), chosen.size


TEXTS = ("networks", "methods", "steps", "rates", "seeds", "layers", "why", "about")
LOGS = ("loss", "grad_norm", "largest")  # stored as logarithms in half precision: within 4 % over all magnitudes


def write(atlas: Atlas, path: Path = FILE) -> None:
    """Write an atlas.

    Writes: ``path``, atomically.
    """
    values = atlas._asdict()
    texts = {name: values[name] for name in TEXTS}
    arrays = {f"{INNER}{steps}": _log(norms) for steps, norms in atlas.inner_norms.items()}
    arrays |= {name: _log(values[name]) for name in LOGS}
    arrays |= {
        "accuracy": atlas.accuracy.astype(np.float32),
        "dead": atlas.dead.astype(np.uint8),
        "shown": atlas.shown.astype(np.uint8),
    }
    write_whole(path, safetensors.numpy.save(arrays, {ABOUT: json.dumps(texts)}))


@functools.cache
def read(path: Path = FILE) -> Atlas:
    """Return the stored atlas; treat its arrays as constants."""
    with safe_open(path, framework="numpy") as file:
        texts = json.loads(file.metadata()[ABOUT])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    inner = {int(name.removeprefix(INNER)): _exp(arrays.pop(name)) for name in list(arrays) if name.startswith(INNER)}
    arrays |= {name: _exp(arrays[name]) for name in LOGS} | {"dead": arrays["dead"].astype(bool)}
    return Atlas(**texts, **arrays, inner_norms=dict(sorted(inner.items())))


def _log(values: NDArray[Any]) -> NDArray[np.float16]:
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float16] = np.log10(values).astype(np.float16)
    return logs


def _exp(logs: NDArray[np.float16]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return 10.0 ** logs.astype(np.float64)
