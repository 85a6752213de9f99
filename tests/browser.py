"""What the browser tests share: a guarded page, and how a reader moves a figure and looks at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserType, Error, Locator, Page, Route, expect

from mamlkit.core.errors import InputError
from mamlkit.study.bench import browser
from mamlkit.study.bench.browser import KERNEL_IS_READY, PATIENCE, run_all

ROOT = Path(__file__).parents[1]
ARTIFACTS = ROOT / "artifacts"
LOCAL = ("localhost", "127.0.0.1")
expect.set_options(timeout=1e3 * PATIENCE)  # a busy machine is slow, not broken


def launch(chromium: BrowserType) -> Browser:
    """Start a Chromium; without one the test skips, and fails under ``CI=true``."""
    try:
        return browser.launch(chromium)
    except InputError as error:
        pytest.fail(str(error)) if os.environ.get("CI") == "true" else pytest.skip(str(error))


@contextmanager
def guarded_page(
    browser: Browser, *, offline: bool = False, known: tuple[str, ...] = (), spared: tuple[str, ...] = ()
) -> Iterator[Page]:
    """Open a page in which an error of its own, or a request to another machine, fails the test.

    An error that says something ``known`` passes. So does a request to a ``spared`` host, though it is refused as well.
    """
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=offline)
    strayed: list[str] = []
    errors: list[str] = []

    def note(error: object) -> None:
        if not any(text in str(error) for text in known):
            errors.append(str(error))

    def guard(route: Route) -> None:
        if urlsplit(route.request.url).hostname in LOCAL and not offline:
            route.continue_()
        else:
            if urlsplit(route.request.url).hostname not in spared:
                strayed.append(route.request.url)
            route.abort()

    context.route(lambda url: urlsplit(url).scheme in ("http", "https"), guard)
    context.set_default_timeout(1e3 * PATIENCE)
    opened = context.new_page()
    opened.on("pageerror", note)
    yield opened
    context.unroute_all()  # what a page says while it is left must not wait for the guard
    opened.goto("about:blank")  # the page says goodbye, and its kernel ends
    opened.wait_for_timeout(300)
    context.close()
    assert not strayed, f"requests left this machine: {strayed}"
    assert not errors, f"the page had errors: {errors}"


def look(root: Locator) -> tuple[bytes, str | None]:
    """Return what a reader sees of an explorer, and what one who cannot see hears."""
    figure = root.locator("[role=img]")
    while True:
        try:
            return figure.screenshot(), figure.get_attribute("aria-label")
        except Error as error:
            if "not attached" not in error.message:
                raise  # a live figure is made anew at each move: then the next one is looked at


def moves_by_key_and_by_drag(page: Page, root: Locator) -> None:
    """Move every slider by key and by drag, and every choice by key: each time the picture and its words change."""
    root.locator("[role=img]").scroll_into_view_if_needed()
    for slider in root.locator("input[type=range]").all():
        before = look(root)
        first = slider.input_value()
        last = slider.get_attribute("max")
        slider.focus()
        page.keyboard.press("ArrowLeft" if first == last else "ArrowRight")
        assert slider.input_value() != first
        after = look(root)
        assert after[0] != before[0], "a key moved the slider and not the picture"
        assert after[1] != before[1], "a key moved the slider and not the words"
        page.keyboard.press("ArrowRight" if first == last else "ArrowLeft")
        assert look(root) == before
        page.keyboard.press("End" if first == "0" else "Home")
        at_the_end, before = slider.input_value(), look(root)
        drag(page, slider, 0.8 if at_the_end == "0" else 0.2)
        assert slider.input_value() != at_the_end
        assert all(now != then for now, then in zip(look(root), before)), "a drag moved the slider and not the figure"
        slider.fill(first)
    for group in root.locator("[role=radiogroup]").all():
        group.locator("input:checked").focus()
        seen = [look(root)]
        for _ in group.locator("input").all():  # all the way round
            page.keyboard.press("ArrowRight")
            seen.append(look(root))
            assert seen[-1][1] != seen[-2][1], "a choice changed and the words did not"
        assert len({picture for picture, _ in seen}) > 1, "no choice changed the picture"
        assert seen[-1] == seen[0]


def draws(page: Page, pad: Locator, *, x: float = 40, says: str = "needs its kernel") -> None:
    """Draw a stroke on a drawing pad: the pad shows it, and says something of it."""
    sheet = pad.locator(".sheet")
    sheet.scroll_into_view_if_needed()
    before, box = sheet.screenshot(), sheet.bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 60, box["y"] + 180, steps=4)
    page.mouse.up()
    assert sheet.screenshot() != before
    pad.get_by_text(says).wait_for()


def plays(page: Page, game: Locator) -> None:
    """Play a round of a game, and wait for the answer to the pick."""
    game.get_by_role("button", name="Start").click()
    picture = game.locator("[role=img]").first
    before = picture.get_attribute("aria-label")
    game.locator("button.tile").first.click()
    assert "It is" in picture.get_attribute("aria-label") != before


def moves(page: Page, root: Locator) -> None:
    """Move whatever there is to move: a pad is drawn on, a game played, an explorer's controls are moved."""
    others = {"DrawingPad": draws, "GamePlayer": plays}
    others.get(root.get_attribute("data-mamlkit"), moves_by_key_and_by_drag)(page, root)


def drag(page: Page, slider: Locator, share: float) -> None:
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    at = int(slider.input_value()) / max(int(slider.get_attribute("max")), 1)
    page.mouse.move(box["x"] + 8 + (box["width"] - 16) * at, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, middle, steps=4)
    page.mouse.up()


def moves_with_its_kernel(page: Page) -> None:
    """Move the slider of a live figure, and wait until the kernel has drawn the figure anew."""
    before = page.locator(".mamlkit-explorer [role=img]").get_attribute("aria-label")
    page.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("old => document.querySelector('[role=img]').ariaLabel !== old", arg=before)


def shoot(locator: Locator, name: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    locator.scroll_into_view_if_needed()
    locator.screenshot(path=ARTIFACTS / f"{name}.png")


def choose_theme(page: Page, name: str) -> None:
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {name}'}})")
    light = str(name == "Light").lower()
    page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")
    page.wait_for_timeout(500)  # the style sheet follows the attribute


LISTEN = """() => {
  window.sent = [];
  if (window.listening) return;
  window.listening = true;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    window.sent.push(typeof data === "string" ? data : new TextDecoder().decode(data));
    send.call(this, data);
  };
}"""


def listen(page: Page) -> None:
    """Write down from now on what the page says to its kernels, for ``sent``."""
    page.evaluate(LISTEN)


def sent(page: Page, words: str) -> int:
    """Return how many of the messages to the kernels hold the words."""
    return sum(words in message for message in page.evaluate("window.sent"))


SET_PARAMETERS = """(lines) => {
  const cells = jupyterapp.shell.currentWidget.content.widgets.map((cell) => cell.model);
  const cell = cells.find((each) => (each.getMetadata("tags") ?? []).includes("parameters"));
  window.parameters ??= cell.sharedModel.getSource();
  cell.sharedModel.setSource(window.parameters + lines);
}"""


def run_again(page: Page, **parameters: Any) -> None:
    """Run all cells of the open notebook in the same kernel, with other parameters, as if nothing had been done."""
    page.evaluate(
        "() => { for (const key of Object.keys(localStorage)) if (/mamlkit/.test(key)) delete localStorage[key]; }"
    )
    page.wait_for_function(KERNEL_IS_READY)
    page.evaluate(SET_PARAMETERS, "".join(f"\n{name} = {value!r}" for name, value in parameters.items()))
    choose_theme(page, "Light")
    run_all(page)
