"""TrainingTheatre: its buttons, its slider, what it tells the browser and how often, and the picture it leaves."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from waiting import until

from mamlkit import InputError, configure
from mamlkit.datasets import ImageStore
from mamlkit.show.live.theatre import Theatre
from mamlkit.show.widgets import TrainingTheatre
from mamlkit.show.widgets import stage as module
from mamlkit.show.widgets.stage import PERIOD
from mamlkit.show.widgets.theatre import RATES, RECENT, recent

SIZES: dict[str, Any] = dict(
    n_way=3, eval_query=2, q_query=1, filters=3, n_steps=2, n_tasks=2, dtype="float64", device="cpu", engine="eager"
)
RECIPES = {"maml": "MAML", "mamlpp": "MAML++"}
Make = Callable[..., TrainingTheatre]


@pytest.fixture
def make(glyphs: ImageStore) -> Iterator[Make]:
    """A function that makes a figure of a tiny training with these settings; no thread is left after the test."""
    figures = []

    def figure(ahead: int = 0, rate: float = 0.1, **values: Any) -> TrainingTheatre:
        settings = {**SIZES, "epochs": 1000, "iterations_per_epoch": 10, "on_nonfinite": "skip", **values}

        def theatre(recipe: str, rate: float) -> Theatre:
            return Theatre(configure(recipe, **{"inner_lr": rate, **settings}), glyphs, look_every=5)

        figures.append(TrainingTheatre(theatre, RECIPES, ahead=ahead, rate=rate))
        return figures[-1]

    before = trainings()
    yield figure
    for each in figures:
        each.close()
    assert trainings() == before


def trainings() -> int:
    """Return how many threads train."""
    return [thread.name for thread in threading.enumerate()].count("training theatre")


def press(figure: TrainingTheatre, kind: str) -> None:
    figure._handle_custom_msg({"kind": kind}, [])


def move(figure: TrainingTheatre, rate: float) -> None:
    figure.at = [RATES.index(rate), figure.at[1]]


def shown(figure: TrainingTheatre, name: str = "loss") -> np.ndarray:
    return np.frombuffer(figure.numbers[name], "<f4")


def test_the_sliders_places_go_from_a_hundredth_to_4_by_equal_factors() -> None:
    assert (RATES[0], RATES[-1]) == (0.01, 4.0)
    assert {0.1, 0.2, 0.4, 1.0} <= set(RATES)
    steps = np.diff(np.log10(RATES))
    assert np.allclose(steps, 0.05, atol=0.025)
    assert all(float(f"{rate:g}") == rate for rate in RATES)


def test_it_begins_ready_with_what_was_trained_ahead(make: Make) -> None:
    figure = make(ahead=6)
    assert figure.stage == "ready"
    assert figure.said == "6 of 10000 meta-iterations are done. Press Start."
    assert shown(figure).tolist() == pytest.approx([passed.loss for passed in figure.theatre.history], rel=1e-6)
    assert shown(figure, "norms").size == 2 * 3
    assert figure.spec["total"] == 10000
    assert [control["label"] for control in figure.spec["controls"]] == ["inner rate", "recipe"]
    assert figure.spec["controls"][0]["values"][figure.at[0]] == "0.1"
    assert figure.spec["truth"] == 1


def test_start_pause_and_resume(make: Make) -> None:
    figure = make()

    async def play() -> None:
        press(figure, "play")
        assert (figure.stage, figure.said) == ("training", "MAML is training.")
        await until(lambda: len(shown(figure)) >= 5)
        press(figure, "pause")
        done = len(shown(figure))
        assert (figure.stage, figure.said) == ("paused", f"Paused after {done} meta-iterations.")
        await asyncio.sleep(2 * PERIOD)
        assert len(shown(figure)) == done
        press(figure, "play")
        await until(lambda: len(shown(figure)) > done)
        press(figure, "pause")

    asyncio.run(play())
    assert figure.theatre.stage == "paused"


class Pauses:
    """The pauses of the figures' followers, cut short: how long each was to be, and how many waited at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[float] = []
        self.waiting = self.most = 0
        clock = SimpleNamespace(sleep=self.sleep, get_running_loop=asyncio.get_running_loop)
        monkeypatch.setattr(module, "asyncio", clock)

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await asyncio.sleep(0.01)
        finally:
            self.waiting -= 1


def test_the_browser_is_told_four_times_a_second_at_most_and_by_the_kernels_own_thread(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, pauses = make(), Pauses(monkeypatch)
    told: list[tuple[int, threading.Thread]] = []
    figure.observe(lambda _: told.append((len(pauses.asked), threading.current_thread())), ["numbers", "said"])

    async def play() -> None:
        press(figure, "play")
        await until(lambda: len(told) >= 6 and len(figure.theatre.history) > 12)
        press(figure, "pause")

    asyncio.run(play())
    assert {thread for _, thread in told} == {threading.main_thread()}
    before = [number for number, _ in told][2:-2]  # pauses before each, between the answers to the buttons
    assert min(np.diff(before)) >= 1
    assert set(pauses.asked) == {0.25}
    assert pauses.most == 1


def test_start_again_at_once_does_not_double_the_snapshots(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, pauses = make(), Pauses(monkeypatch)
    taken: list[int] = []
    show = TrainingTheatre.show

    def counted(self: TrainingTheatre) -> None:
        taken.append(len(pauses.asked))
        show(self)

    async def play() -> None:
        for _ in range(4):
            press(figure, "play")
            press(figure, "pause")
        press(figure, "play")
        await asyncio.sleep(0)  # what follows takes its first
        monkeypatch.setattr(TrainingTheatre, "show", counted)
        await until(lambda: len(taken) >= 4)
        press(figure, "pause")

    asyncio.run(play())
    assert min(np.diff(taken[:4])) >= 1  # each after a pause of its own
    assert pauses.most == 1


def test_the_slider_moves_the_rate_while_it_runs_and_says_from_when(make: Make) -> None:
    figure = make()

    async def play() -> None:
        press(figure, "play")
        await until(lambda: len(figure.theatre.history) > 2)
        move(figure, 0.2)
        assert figure.said == "From the next meta-iteration on, all inner rates are 0.2."
        await until(lambda: len(shown(figure, "changes")) > 0)
        press(figure, "pause")

    asyncio.run(play())
    [at, rate] = shown(figure, "changes")
    assert rate == np.float32(0.2)
    assert 2 < at < len(figure.theatre.history)
    assert figure.places == f"MAML, inner rate 0.2, after {len(figure.theatre.history)} meta-iterations"


def test_with_learned_rates_it_says_that_they_are_scaled(make: Make) -> None:
    figure = make()
    figure.at = [figure.at[0], 1]
    assert figure.said == "Start over will train MAML++; this is MAML."
    asyncio.run(then_pause(figure, "again"))
    move(figure, 0.4)
    assert figure.said == "From the next meta-iteration on, MAML++'s learned rates are all multiplied by 0.4 / 0.1."


async def then_pause(figure: TrainingTheatre, kind: str) -> None:
    press(figure, kind)
    await until(lambda: len(figure.theatre.history) > 0)
    press(figure, "pause")


def test_start_over_ends_the_old_thread_and_takes_recipe_and_rate_from_the_controls(make: Make) -> None:
    figure = make(ahead=5)
    first, before = figure.theatre, trainings()

    async def play() -> None:
        press(figure, "play")
        figure.at = [RATES.index(0.4), 1]
        press(figure, "again")
        assert figure.theatre is not first
        assert not first.running
        assert trainings() == before + 1
        assert (figure.stage, figure.said) == ("training", "MAML++ is training.")
        await until(lambda: len(shown(figure)) > 0)
        press(figure, "pause")

    asyncio.run(play())
    assert figure.theatre.config.learn_inner_lrs
    assert figure.theatre.config.inner_lr == figure.theatre.rate == 0.4
    assert figure.theatre.changes == []
    assert figure.places.startswith("MAML++, inner rate 0.4, after ")


def test_when_it_cannot_start_over_it_says_why_and_the_old_training_stays(make: Make) -> None:
    figure = make(ahead=2)
    first = figure.theatre

    def refuse(recipe: str, rate: float) -> Theatre:
        raise InputError("n_way = 99 is more than the classes")

    figure.make = refuse
    press(figure, "again")
    assert figure.said == "n_way = 99 is more than the classes"
    assert figure.theatre is first
    assert figure.places.startswith("MAML, ")


def test_at_the_end_it_says_so_and_the_slider_waits_for_start_over(make: Make) -> None:
    figure = make(epochs=1, iterations_per_epoch=3)

    async def play() -> None:
        press(figure, "play")
        await until(lambda: figure.stage == "finished")
        press(figure, "play")

    asyncio.run(play())
    assert figure.said == "Finished: all 3 meta-iterations are done. Start over trains anew."
    move(figure, 0.2)
    assert figure.said == "Start over will begin at inner rate 0.2."


@pytest.mark.parametrize("error", [RuntimeError("the roof fell in"), InputError("the roof fell in")])
def test_an_exception_in_the_thread_becomes_a_sentence(make: Make, error: Exception) -> None:
    figure = make()

    def meta_step(*_: Any) -> None:
        raise error

    figure.theatre.learner.meta_step = meta_step

    async def play() -> None:
        press(figure, "play")
        await until(lambda: figure.stage == "failed")

    asyncio.run(play())
    kind = "RuntimeError: " if isinstance(error, RuntimeError) else ""
    assert figure.said == f"The training stopped: {kind}the roof fell in. Start over trains anew."


def test_closing_the_figure_ends_its_thread(make: Make) -> None:
    before = trainings()
    figure = make()

    async def play() -> None:
        press(figure, "play")
        assert trainings() == before + 1
        figure.close()
        assert trainings() == before

    asyncio.run(play())


def test_deleting_the_figure_ends_its_thread(glyphs: ImageStore) -> None:
    before = trainings()
    config = configure("maml", epochs=1000, **SIZES)

    async def play() -> None:
        figure = TrainingTheatre(lambda *_: Theatre(config, glyphs), RECIPES)
        figure.play()
        await asyncio.sleep(2 * PERIOD)
        assert trainings() == before + 1
        del figure
        gc.collect()
        assert trainings() == before
        await asyncio.sleep(2 * PERIOD)  # what followed it ends too

    asyncio.run(play())


def test_only_one_trains_at_a_time(make: Make) -> None:
    before = trainings()

    async def play() -> None:
        first = make()
        press(first, "play")
        second = make()
        assert trainings() == before
        press(second, "play")
        press(first, "play")
        assert trainings() == before + 1
        assert first.theatre.running
        await until(lambda: second.stage == "paused")
        first.pause()

    asyncio.run(play())


def test_a_rate_that_is_no_place_of_the_slider_is_refused(make: Make) -> None:
    with pytest.raises(InputError, match=r"rate = 0.105 is not a place of the slider; the nearest is 0.1$"):
        make(rate=0.105)


def test_recent_means_skip_what_is_not_finite_and_leave_its_gap() -> None:
    values = np.array([1.0, 3.0, np.inf, 5.0, np.nan])
    assert np.array_equal(recent(values), [1, 2, np.nan, 3, np.nan], equal_nan=True)
    assert recent(np.arange(100.0))[-1] == np.arange(100.0 - RECENT, 100).mean()
    assert recent(np.array([])).shape == (0,)


@pytest.mark.parametrize("ahead", [0, 6])
def test_without_a_kernel_a_picture_is_shown_that_comes_out_again(make: Make, ahead: int) -> None:
    figure = make(ahead=ahead)
    bundle, _ = figure._repr_mimebundle_()
    assert bundle["text/plain"] == f"TrainingTheatre(MAML, inner rate 0.1, after {ahead} meta-iterations)"
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == figure.html()
    assert bundle["text/html"].startswith('<img alt="Training theatre: MAML, inner rate 0.1, after ')
    assert "goes on in a kernel: run this cell, then press Start." in bundle["text/html"]
    assert np.asarray(Image.open(io.BytesIO(bundle["image/png"])).convert("L")).std() > 10
    assert make(ahead=ahead).png() == bundle["image/png"]


def test_what_is_not_finite_is_counted_below_the_picture(make: Make) -> None:
    figure = make(ahead=5, inner_lr=1e300)
    assert np.isnan(shown(figure)).all()
    assert "of its values are not finite" in figure.html()
    assert figure.png()


def test_its_script_mounts_the_theatre() -> None:
    script = TrainingTheatre._esm
    assert script.count("function mount(") == 1
    assert script.rstrip().endswith("export default { render };")
