"""A cell of the atlas to train: its controls choose, its buttons train, and the outcome is marked and said."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_live_cell import config
from waiting import until

from mamlkit.core.errors import InputError
from mamlkit.datasets import ImageStore
from mamlkit.show.live.cell import CellRun
from mamlkit.show.widgets import CellTheatre

AXES = [["A"], ["MAML", "MAML++"], ["1", "2"], ["0.1", "1e30"]]
Make = Callable[..., CellTheatre]


@pytest.fixture
def make(glyphs: ImageStore) -> Iterator[Make]:
    """A function that makes a figure of tiny runs; no thread is left after the test."""
    figures = []

    def figure(**values: Any) -> CellTheatre:
        def run(place: tuple[int, int, int, int], seed: int) -> CellRun:
            if place[1] == 1:
                raise InputError("MAML++ is not for this test")
            sizes = {"n_steps": place[2] + 1, "inner_lr": float(AXES[3][place[3]]), "adapt_norms": True}
            return CellRun(config(seed=seed, **{**sizes, **values}), glyphs)

        cells = {"dead": np.arange(8).reshape(1, 2, 2, 2) % 4, "accuracy": np.full((1, 2, 2, 2), 0.5)}
        figures.append(CellTheatre(run, **cells, axes=AXES, runs=3, seeds=[0, 7]))
        return figures[-1]

    yield figure
    for each in figures:
        each.close()


def press(figure: CellTheatre, kind: str) -> None:
    figure._handle_custom_msg({"kind": kind}, [])


def sent(figure: CellTheatre, name: str) -> list[float]:
    return np.frombuffer(figure.numbers[name], "<f4").tolist()


async def finish(figure: CellTheatre) -> None:
    press(figure, "play")
    await until(lambda: figure.stage == "finished")


def test_a_control_that_moves_while_nothing_trains_makes_another_run(make: Make) -> None:
    figure = make()
    assert figure.said == "Press Start to train network A, method MAML, inner steps 1, inner rate 0.1, seed 0."
    figure.at = [0, 0, 1, 0, 1]
    assert (figure.theatre.config.n_steps, figure.theatre.config.seed) == (2, 7)
    assert sent(figure, "cell") == [0, 0, 1, 0]
    assert figure.said == "Press Start to train network A, method MAML, inner steps 2, inner rate 0.1, seed 7."
    assert figure.stage == "ready"


def test_a_run_is_trained_and_its_outcome_is_marked_and_said_beside_the_atlas(make: Make) -> None:
    figure = make()
    asyncio.run(finish(figure))
    assert len(sent(figure, "loss")) == figure.theatre.total == 6
    assert len(sent(figure, "validation")) == 2
    assert sent(figure, "marks")[:4] == [0, 0, 0, 0]
    assert "In the atlas, 0 of 3 runs died, mean accuracy 50 %." in figure.said

    figure.at = [0, 0, 0, 1, 0]
    asyncio.run(finish(figure))
    assert sent(figure, "marks")[5:] == [0, 0, 0, 1, 1]
    assert figure.said.startswith("It died (steps refused: 6; never above 75 %), test accuracy ")
    assert "In the atlas, 1 of 3 runs died" in figure.said
    figure.show()
    assert len(figure.marks) == 2, "a finished run is marked once"


def test_while_it_trains_a_control_waits_for_start_over(make: Make) -> None:
    async def play() -> None:
        figure = make(epochs=1000)
        press(figure, "play")
        await until(lambda: figure.theatre.done > 1)
        before = figure.theatre
        figure.at = [0, 0, 1, 0, 0]
        assert figure.theatre is before
        assert figure.said == "Start over will train network A, method MAML, inner steps 2, inner rate 0.1, seed 0."
        press(figure, "again")
        assert figure.theatre is not before
        assert not before.running
        assert figure.theatre.config.n_steps == 2
        figure.pause()
        assert figure.marks == []

    asyncio.run(play())


def test_a_cell_that_cannot_be_made_is_a_sentence_and_the_old_one_stays(make: Make) -> None:
    figure = make()
    before = figure.theatre
    figure.at = [0, 1, 0, 0, 0]
    assert figure.said == "MAML++ is not for this test"
    assert figure.theatre is before
    assert figure.place == (0, 0, 0, 0)


def test_names_that_do_not_fit_are_refused(make: Make) -> None:
    with pytest.raises(InputError, match=r"^dead has shape \(1, 2, 2, 2\); the names ask for \(2, 2, 2, 2\)$"):
        CellTheatre(
            lambda place, seed: None,  # type: ignore[arg-type,return-value]
            dead=np.zeros((1, 2, 2, 2)),
            accuracy=np.zeros((1, 2, 2, 2)),
            axes=[["A", "B"], *AXES[1:]],
            runs=3,
            seeds=[0],
        )


def test_without_a_kernel_the_map_is_a_picture(make: Make) -> None:
    figure = make()
    assert np.asarray(Image.open(io.BytesIO(figure.png())).convert("L")).std() > 10
    assert "This training goes on in a kernel" in figure.html()
