"""The stored atlas: its file keeps all magnitudes, and its counts are those of its runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mamlkit.study.stored import atlas
from mamlkit.study.stored.atlas import Atlas

SHAPE = (2, 2, 2, 2)


def made_up() -> Atlas:
    """Return an atlas of 2 networks, methods, numbers of steps and rates, with two seeds and three meta-iterations."""
    generator = np.random.default_rng(0)
    over_decades = 10 ** generator.uniform(-4, 30, (*SHAPE, 3))
    over_decades[0, 0, 0, 0] = [np.inf, np.nan, 0.0]
    inner = {steps: 10 ** generator.uniform(-3, 30, (2, 2, 2, 2, steps, 3)) for steps in (1, 5)}
    inner[5][0, ..., 2] = np.nan
    dead = generator.random((*SHAPE, 2)) < 0.5
    dead[1, 0] = [[[True, False], [False, False]], [[True, True], [False, True]]]
    return Atlas(
        networks={"a": "A", "b": "B"},
        methods={"maml": "MAML", "mamlpp": "MAML++"},
        steps=[1, 5],
        rates=[0.1, 0.4],
        seeds=[0, 1],
        layers=[2, 3],
        why=["died" if died else "" for died in dead[..., 0].flatten()],
        about={"command": "none"},
        accuracy=generator.random((*SHAPE, 2)),
        dead=dead,
        largest=10 ** generator.uniform(-4, 38, (*SHAPE, 2)),
        shown=dead.argmax(-1),
        loss=over_decades,
        grad_norm=over_decades[..., ::-1],
        inner_norms=inner,
    )


def test_all_numbers_are_read_as_they_were_written_over_all_magnitudes(tmp_path: Path) -> None:
    given = made_up()
    atlas.write(given, tmp_path / "atlas.safetensors")
    read = atlas.read(tmp_path / "atlas.safetensors")
    for name in atlas.TEXTS:
        assert getattr(read, name) == getattr(given, name)
    assert (read.dead == given.dead).all()
    assert (read.shown == given.shown).all()
    np.testing.assert_allclose(read.accuracy, given.accuracy, rtol=1e-6)
    for name in atlas.LOGS:
        # Half precision has ten bits: the error of a logarithm up to 38 is at most 1/64.
        np.testing.assert_allclose(getattr(read, name), getattr(given, name), rtol=0.04)
    assert list(read.inner_norms) == [1, 5]
    for steps, norms in given.inner_norms.items():
        np.testing.assert_allclose(read.inner_norms[steps], norms, rtol=0.04)


def test_the_axes_have_their_labels() -> None:
    assert made_up().axes == [["A", "B"], ["MAML", "MAML++"], ["1", "5"], ["0.1", "0.4"]]


def test_the_dead_runs_of_a_network_and_method_are_counted_from_some_rate_and_steps_on() -> None:
    given = made_up()
    assert given.runs("b", "maml") == (4, 8)
    assert given.runs("b", "maml", least_rate=0.4) == (1, 4)
    assert given.runs("b", "maml", least_steps=5) == (3, 4)
    assert given.runs("b", "maml", least_rate=0.4, least_steps=5) == (1, 2)
    with pytest.raises(ValueError, match="'c' is not in list"):
        given.runs("c", "maml")
