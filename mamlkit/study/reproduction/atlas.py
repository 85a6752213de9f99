"""The stability atlas: short trainings over network, method, inner steps and inner rate.

Its summaries are in ``mamlkit.study.reproduction.atlas_summary``.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from mamlkit.study.reproduction.table import Setting

PLAIN = {"backbone": "deep", "batch_norm": False}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {  # name -> label, overrides
    "conv4": ("Conv4, pooled", {}),
    "strided": ("Conv4, strided", {"max_pool": False}),
    "plain": ("8 layers, plain", PLAIN),
    "norm": ("8 layers, batch norm", {"backbone": "deep"}),
    "skips": ("8 layers, skip connections", {**PLAIN, "skips": True}),
}
METHODS: dict[str, tuple[str, str, dict[str, Any]]] = {  # name -> label, recipe, overrides
    "maml": ("MAML", "maml", {}),
    "first-order": ("first order", "fomaml", {}),
    "msl": ("+ multi-step loss", "maml+msl", {"msl_share": 1.0}),  # annealed over the whole of a short run
    "da": ("+ derivative-order annealing", "maml+da", {}),
    "lslr": ("+ learned inner rates", "maml+lslr", {}),
    "clip": ("+ gradient clipping", "maml", {"grad_clip": 10.0}),
    "mamlpp": ("MAML++", "mamlpp", {}),
}
STEPS = (1, 5, 10)
RATES = (0.03, 0.1, 0.4)
SIZES: dict[str, dict[str, Any]] = {
    "smoke": dict(epochs=2, iterations_per_epoch=2, val_episodes=4, test_episodes=4, filters=2, n_tasks=1),
    "laptop": dict(
        image_size=16,
        epochs=5,
        iterations_per_epoch=24,
        val_episodes=30,
        test_episodes=100,
        filters=16,
        n_tasks=2,
        q_query=3,
        eval_query=3,
        outer_lr=0.001,  # at 0.003 the plain network never learns, whatever the inner loop
    ),
}


class Place(NamedTuple):
    """A cell of the atlas."""

    network: str
    method: str
    steps: int
    rate: float

    @property
    def name(self) -> str:
        """Name of its setting.

        >>> Place("plain", "maml", 10, 0.4).name
        'plain-maml-10steps-rate0.4'
        """
        return f"{self.network}-{self.method}-{self.steps}steps-rate{self.rate:g}"


PLACES = tuple(map(Place._make, itertools.product(NETWORKS, METHODS, STEPS, RATES)))


def by_name() -> dict[str, Place]:
    """Return the cells of the atlas by the names of their settings."""
    return {place.name: place for place in PLACES}


def settings(_: int) -> list[Setting]:
    """Return a setting for each cell: every network with every method, number of inner steps and inner rate."""
    return [_setting(place) for place in PLACES]


def _setting(place: Place) -> Setting:
    (network, switches), (method, recipe, changes) = NETWORKS[place.network], METHODS[place.method]
    overrides = {**switches, **changes, "n_steps": place.steps, "inner_lr": place.rate, "ensemble": 1}
    if recipe == "mamlpp" and switches.get("batch_norm") is False:
        overrides |= {"per_step_bn": False, "per_step_stats": False}
    label = f"{network}: {method}, {place.steps} steps, rate {place.rate:g}"
    return Setting(place.name, label, recipe, 5, 1, overrides)
