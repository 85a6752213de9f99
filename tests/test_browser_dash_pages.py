"""The first three live pages played on a real ``mamlkit dash``, with a kernel behind each."""

from __future__ import annotations

import psutil
import pytest
import test_browser_draw as draw
import test_browser_play as play
import test_browser_watch as watch
from browser import shoot
from dash_server import kernels
from playwright.sync_api import Locator, Page, expect

from mamlkit.study.bench.gestures import stroke
from mamlkit.study.bench.servers import Dash

pytestmark = pytest.mark.long


@pytest.fixture
def shown(dash: Dash, page: Page, request: pytest.FixtureRequest) -> Locator:
    """The figure of a page on the projector."""
    page.set_viewport_size({"width": 1600, "height": 1000})
    page.goto(dash.page(request.param))
    figure = page.locator(".mamlkit-explorer:not([data-mamlkit])").first
    figure.wait_for()
    return figure


@pytest.mark.parametrize("shown", ["draw"], indirect=True)
def test_the_pad_is_drawn_on_and_scrubbed(shown: Locator, page: Page) -> None:
    expect(draw.note(shown)).to_contain_text("most likely")
    draw.draw_three(page, shown)
    before = shown.locator(".answer").screenshot()
    stroke(page, shown, [(25, 20), (25, 80), (75, 82)])
    expect(draw.note(shown)).to_contain_text("after step 5: most likely 2")
    assert shown.locator(".answer").screenshot() != before
    words = {draw.words(shown)}
    shown.locator("input[type=range]").focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
        words.add(draw.words(shown))
    assert len(words) == 6
    shoot(shown, "dash_draw_played")


@pytest.mark.parametrize("shown", ["draw"], indirect=True)
def test_a_pad_whose_kernel_died_says_so_and_loses_nothing(shown: Locator, page: Page, dash: Dash) -> None:
    expect(draw.note(shown)).to_contain_text("most likely")
    draw.draw_three(page, shown)
    for kernel in kernels(dash):
        kernel.kill()
    stroke(page, shown, [(25, 20), (25, 80), (75, 82)])
    kept = draw.drawn(shown)
    expect(draw.note(shown)).to_contain_text("The kernel does not answer. What you drew is kept", timeout=40_000)
    page.reload()
    shown.wait_for()
    expect(draw.note(shown)).to_contain_text("most likely 2")
    assert draw.drawn(shown) == kept


@pytest.mark.parametrize("shown", ["play"], indirect=True)
def test_rounds_are_won_and_lost(shown: Locator, page: Page) -> None:
    _, truth, answers = play.committed()
    n_rounds, given = len(truth), []
    play.press(shown, "Start")
    for number, wanted in enumerate((True, False, True)):
        play.expect_round(shown, number + 1, n_rounds)
        given.append(int(truth[number]) if wanted else (int(truth[number]) + 1) % 5)
        if number % 2:
            shown.locator(".tiles").focus()
            page.keyboard.press(play.LETTERS[given[-1]])
        else:
            shown.locator("button.tile").nth(given[-1]).click()
        play.expect_verdict(shown, given, truth, answers)
        if number == 1:
            shoot(shown, "dash_play_lost")
        play.press(shown, "Next round")
    assert play.right_so_far(shown)["you"] == 2


@pytest.mark.parametrize("shown", ["watch"], indirect=True)
def test_training_is_watched_paused_and_resumed(shown: Locator, page: Page) -> None:
    theatre = watch.ready(page)
    begin = watch.done(theatre)
    watch.press(theatre, "Start")
    watch.reaches(theatre, begin + 12)
    watch.press(theatre, "Pause")
    expect(theatre.locator(".note")).to_contain_text("Paused after")
    page.wait_for_timeout(500)
    still = watch.done(theatre)
    page.wait_for_timeout(1500)
    assert watch.done(theatre) == still
    watch.press(theatre, "Resume")
    watch.reaches(theatre, still + 3)
    shoot(theatre, "dash_watch_played")
    watch.expect_answers(theatre)


def test_a_page_that_is_left_takes_its_kernel_along_and_the_training_in_it(dash: Dash, page: Page) -> None:
    others = kernels(dash)
    page.goto(dash.page("watch"))  # by a bookmark: the list, which has the token, was not seen
    watch.press(watch.ready(page), "Start")
    first = kernels(dash) - others
    assert len(first) == 1
    page.reload()
    watch.ready(page)
    psutil.wait_procs(first, timeout=20)
    second = kernels(dash) - others
    assert len(second) == 1
    assert first != second
    page.goto(dash.list)
    psutil.wait_procs(second, timeout=20)
    assert kernels(dash) <= others
