"""The training theatre in JupyterLab: watched, paused, moved while it runs, started over, and cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser import ROOT, choose_theme, guarded_page, listen, run_again, sent, shoot
from playwright.sync_api import Browser, Locator, Page, expect

from mamlkit.show.widgets import TrainingTheatre
from mamlkit.show.widgets.explorer import EXPORT
from mamlkit.study.bench.browser import run_all
from mamlkit.study.bench.servers import Jupyter

PAGE = ROOT / "notebooks" / "live" / "watch.ipynb"
BROKEN = """from mamlkit.datasets import load
from mamlkit.core.recipes import configure
from mamlkit.show.live.theatre import Theatre
from mamlkit.show.widgets import TrainingTheatre
store = load("glyphs")


def make(recipe, rate):
    sizes = {"filters": 4, "engine": "vmap", "device": "cpu", "on_nonfinite": "skip"}
    theatre = Theatre(configure("maml", inner_lr=1e38 if recipe == "wild" else rate, **sizes), store)
    theatre.trainer.train = None if recipe == "broken" else theatre.trainer.train
    return theatre


TrainingTheatre(make, {"tame": "tame", "wild": "wild", "broken": "broken"}, ahead=12)"""


def ready(page: Page) -> Locator:
    theatre = page.locator(".mamlkit-explorer.theatre")
    expect(theatre.locator(".note")).to_contain_text("Press Start")
    theatre.scroll_into_view_if_needed()
    return theatre


@pytest.fixture(scope="module")
def notebook(jupyter: Jupyter, lab_page: Page) -> Page:
    """The page in JupyterLab."""
    jupyter.open(lab_page, PAGE)
    return lab_page


@pytest.fixture
def theatre(notebook: Page) -> Locator:
    """A new theatre; the one before trains no more."""
    run_again(notebook)
    return ready(notebook)


def press(theatre: Locator, name: str) -> None:
    theatre.get_by_role("button", name=name, exact=True).click()


def done(theatre: Locator) -> int:
    return int(re.match(r"Meta-iteration (\d+) of", theatre.locator(".count").inner_text())[1])


def reaches(theatre: Locator, goal: int) -> None:
    for _ in range(1200):
        if done(theatre) >= goal:
            return
        theatre.page.wait_for_timeout(100)
    pytest.fail(f"after two minutes there are {done(theatre)} meta-iterations")


def curves(theatre: Locator) -> list[str]:
    return [line.get_attribute("d") for line in theatre.locator("path.line.series-0").all()]


def test_it_is_watched_paused_resumed_moved_and_started_over(theatre: Locator) -> None:
    page, begin, words = theatre.page, done(theatre), theatre.locator("[role=img]").get_attribute("aria-label")
    assert begin == 20
    assert f"Meta-iteration {begin} of 1500" in words
    shoot(theatre, "live_watch_ready")

    before = curves(theatre)
    press(theatre, "Start")
    expect(theatre.locator(".note")).to_have_text("MAML is training.")
    reaches(theatre, begin + 11)
    assert all(now != then for now, then in zip(curves(theatre), before))
    assert theatre.locator("[role=img]").get_attribute("aria-label") != words

    press(theatre, "Pause")
    expect(theatre.locator(".note")).to_contain_text("Paused after")
    page.wait_for_timeout(500)
    still, picture = done(theatre), theatre.locator("[role=img]").screenshot()
    page.wait_for_timeout(1500)
    assert done(theatre) == still
    assert theatre.locator("[role=img]").screenshot() == picture
    press(theatre, "Resume")
    reaches(theatre, still + 2)

    assert theatre.locator(".change").count() == 0
    slider = theatre.locator("input[type=range]")
    slider.focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    expect(theatre.locator("output")).to_have_text("0.4")
    expect(theatre.locator(".note")).to_have_text("From the next meta-iteration on, all inner rates are 0.4.")
    theatre.locator(".change").first.wait_for(state="attached")
    expect(theatre.locator("text.changed").last).to_have_text(re.compile(r"^(\S+ … )?0\.4$"))
    reaches(theatre, done(theatre) + 11)
    shoot(theatre, "live_watch_light")
    choose_theme(page, "Dark")
    shoot(theatre, "live_watch_dark")
    choose_theme(page, "Light")

    theatre.get_by_label("MAML++", exact=True).check()
    expect(theatre.locator(".note")).to_have_text("Start over will train MAML++; this is MAML.")
    press(theatre, "Start over")
    expect(theatre.locator(".note")).to_have_text("MAML++ is training.")
    expect(theatre.locator(".change")).to_have_count(0)
    assert done(theatre) < begin
    reaches(theatre, 11)
    press(theatre, "Pause")
    shoot(theatre, "live_watch_mamlpp")


def test_the_slider_answers_each_key_by_one_message_while_it_trains(theatre: Locator) -> None:
    press(theatre, "Start")
    reaches(theatre, 25)
    expect_answers(theatre)
    reaches(theatre, done(theatre) + 5)  # it trains on


def expect_answers(theatre: Locator) -> None:
    """Move the rate of a training that runs: its own number follows in the browser, and the kernel says each."""
    listen(theatre.page)
    slider = theatre.locator("input[type=range]")
    slider.focus()
    for number in range(1, 4):
        shown = theatre.locator("output").inner_text()
        theatre.page.keyboard.press("ArrowRight")
        rate = theatre.locator("output").inner_text()
        assert rate != shown
        expect(theatre.locator(".note")).to_have_text(f"From the next meta-iteration on, all inner rates are {rate}.")
        assert sent(theatre.page, '"state":{"at":[') == number


@pytest.mark.long
def test_a_restarted_kernel_is_a_sentence_and_the_last_picture_stays(jupyter: Jupyter, page: Page) -> None:
    jupyter.run(page, PAGE)
    theatre = ready(page)
    press(theatre, "Start")
    reaches(theatre, 30)
    page.evaluate("() => { jupyterapp.commands.execute('notebook:restart-kernel'); }")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(theatre.locator(".note")).to_have_text("The kernel was restarted: run this cell, or load this page, again.")
    assert done(theatre) >= 30
    assert len(curves(theatre)[0]) > 100
    expect(theatre.get_by_role("button", name="Start over")).to_be_disabled()
    shoot(theatre, "live_watch_restarted")
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
    fresh = ready(page)
    press(fresh, "Start")
    reaches(fresh, 22)


@pytest.mark.long
def test_a_kernel_that_is_busy_is_a_sentence_until_it_answers(theatre: Locator) -> None:
    page = theatre.page
    press(theatre, "Start")
    reaches(theatre, 25)
    page.evaluate(
        """() => {
          const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
          kernel.requestExecute({ code: "import time; time.sleep(8)" });
        }"""
    )
    expect(theatre.locator(".note")).to_have_text(
        "The kernel does not answer: it is busy, or it was restarted; then run this cell, or load this page, again."
    )
    still = done(theatre)
    expect(theatre.locator(".note")).to_have_text("MAML is training.")
    reaches(theatre, still + 10)  # it trained meanwhile


@pytest.fixture(scope="module")
def broken_notebook(jupyter: Jupyter, browser: Browser) -> Iterator[Page]:
    """A page whose recipes go wrong, in JupyterLab."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BROKEN)], metadata=METADATA)
    nbformat.write(notebook, jupyter.work / "broken_watch.ipynb")
    with guarded_page(browser) as page:
        jupyter.show(page, "broken_watch.ipynb")
        yield page


@pytest.fixture
def broken(broken_notebook: Page) -> Locator:
    """A new theatre on that page."""
    run_all(broken_notebook)
    return ready(broken_notebook)


METADATA = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}


@pytest.mark.long
def test_what_is_not_finite_is_a_gap_a_red_cross_and_a_sentence(broken: Locator) -> None:
    expect(broken.locator(".warning")).to_have_text("")
    broken.get_by_label("wild", exact=True).check()
    press(broken, "Start over")
    expect(broken.locator(".note")).to_have_text("wild is training.")
    reaches(broken, 3)
    press(broken, "Pause")
    expect(broken.locator(".warning")).to_contain_text(
        "meta-iterations had a number that was not finite (NaN or inf): a gap with a red cross"
    )
    expect(broken.locator(".warning")).to_contain_text("The fixed task has such numbers now.")
    assert broken.locator("path.cross").first.get_attribute("d").count("M") >= 3
    assert curves(broken)[0] == ""
    shoot(broken, "live_watch_not_finite")


@pytest.mark.long
def test_an_exception_is_a_sentence_and_start_over_mends_it(broken: Locator) -> None:
    broken.get_by_label("broken", exact=True).check()
    press(broken, "Start over")
    expect(broken.locator(".note")).to_contain_text("The training stopped: AttributeError: 'NoneType' object")
    expect(broken.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    broken.get_by_label("tame", exact=True).check()
    press(broken, "Start over")
    expect(broken.locator(".note")).to_have_text("tame is training.")
    reaches(broken, 3)


def test_changes_of_the_rate_that_touch_have_one_mark_with_the_first_and_the_last(
    offline_page: Page, tmp_path: Path
) -> None:
    script = TrainingTheatre._esm.replace(EXPORT, "")
    (tmp_path / "marks.html").write_text(f"<!doctype html><meta charset=utf-8><script>{script}</script>")
    offline_page.goto((tmp_path / "marks.html").as_uri())
    seen = offline_page.evaluate("""() => {
      const box = { x: (at) => at, inside: shape("svg") };
      rateMarks(box, [[10, 4], [11, 0.5], [12, 0.01], [90, 1], [100, 2], [170, 0.1]], [174, 130]);
      const all = (name) => [...box.inside.querySelectorAll(name)];
      const texts = all("text").map((text) => [Number(text.getAttribute("x")), text.textContent]);
      return [all("line").map((line) => Number(line.getAttribute("x1"))), texts];
    }""")
    assert seen == [[10, 90, 100, 170], [[13, "4 … 0.01"], [103, "2"], [167, "0.1"]]]
