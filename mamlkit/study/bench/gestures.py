"""Act on a page as a reader does, through a browser, and return the milliseconds until the page shows the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from playwright.sync_api import Locator, Page

PAD = ".mamlkit-explorer:not([data-mamlkit])"
THEATRE = ".mamlkit-explorer.theatre"
STROKE = ((20, 20), (30, 75), (80, 70))  # percent of the sheet's width and height
APART = 137  # milliseconds between two moves of a slider, so that moves fall at any time between two updates

EXPLORERS = """async (rounds) => {
  const waits = [];
  const timed = async (move) => {
    const begin = performance.now();
    move();
    await new Promise(requestAnimationFrame); // the frame that is painted next
    waits.push(performance.now() - begin);
  };
  for (let i = 0; i < rounds; i += 1) {
    for (const slider of document.querySelectorAll(".mamlkit-explorer input[type=range]")) {
      await timed(() => {
        slider.value = i % (Number(slider.max) + 1);
        slider.dispatchEvent(new Event("input"));
      });
    }
    for (const group of document.querySelectorAll(".mamlkit-explorer [role=radiogroup]")) {
      const buttons = group.querySelectorAll("input");
      await timed(() => buttons[i % buttons.length].click());
    }
  }
  return waits;
}"""
LIVE = """async (rounds) => {
  const figure = () => document.querySelector(".widget-vbox .mamlkit-explorer [role=img]");
  const handle = document.querySelector(".noUi-handle");
  const waits = [];
  for (let i = 0; i < rounds; i += 1) {
    const [old, begin] = [figure().getAttribute("aria-label"), performance.now()];
    handle.dispatchEvent(new KeyboardEvent("keydown", { key: i % 2 ? "ArrowLeft" : "ArrowRight", bubbles: true }));
    while (figure().getAttribute("aria-label") === old) await new Promise(requestAnimationFrame);
    waits.push(performance.now() - begin);
  }
  return waits;
}"""
BARS = """(pad) => {
  const [answer, sheet] = [".answer", ".sheet"].map((part) => document.querySelector(`${pad} ${part}`));
  let begin = 0;
  window.waited = new Promise((done) => {
    sheet.addEventListener("pointerup", () => { begin = performance.now(); }, { once: true, capture: true });
    new MutationObserver((_, observer) => {
      if (!begin || !answer.querySelector("rect.bar.series-0")) return;
      observer.disconnect();
      requestAnimationFrame(() => done(performance.now() - begin));
    }).observe(answer, { childList: true, subtree: true });
  });
}"""
RATES = """(theatre) => {
  const root = document.querySelector(theatre);
  let begin = 0;
  root.querySelector("input[type=range]").addEventListener("keydown", () => { begin = performance.now(); });
  window.waits = { output: [], kernel: [] };
  const watch = (kind, text) => new MutationObserver(() => {
    requestAnimationFrame(() => window.waits[kind].push(performance.now() - begin));
  }).observe(text, { childList: true, characterData: true, subtree: true });
  watch("output", root.querySelector("output"));
  watch("kernel", root.querySelector(".note"));
}"""

Tick = Callable[[], object]


def move_explorers(page: Page, rounds: int) -> list[float]:
    """Return the milliseconds from each move of each control of a page to the next painted frame."""
    waits: list[float] = page.evaluate(EXPLORERS, rounds)
    return waits


def move_live(page: Page, rounds: int) -> list[float]:
    """Return the milliseconds from each move of a Live figure's slider to the frame with the kernel's figure."""
    page.locator(".noUi-base").wait_for()
    page.locator(".jp-InputPrompt", has_text="[*]").first.wait_for(state="detached")
    waits: list[float] = page.evaluate(LIVE, rounds)
    return waits


def stroke(page: Page, pad: Locator, points: Sequence[tuple[float, float]]) -> None:
    """Draw a stroke on a drawing pad with the mouse, through points in percent of the sheet."""
    box = pad.locator(".sheet").bounding_box()
    if box is None:
        raise RuntimeError("the drawing pad is not visible")
    places = [(box["x"] + box["width"] * x / 100, box["y"] + box["height"] * y / 100) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def draw_strokes(page: Page, slot: str, rounds: int) -> list[float]:
    """Return the milliseconds from the end of each stroke to the bars of its answer.

    Args:
        page: a drawing pad whose other characters are already drawn.
        slot: the part to draw, ``"query"`` or ``"class 1"``; it is cleared before each stroke.
        rounds: number of strokes.
    """
    pad = page.locator(PAD)
    pad.locator(".slots").get_by_role("button", name=slot, exact=True).click()
    waits = []
    for i in range(rounds):
        pad.get_by_role("button", name="Clear", exact=True).click()
        pad.locator(".answer rect.bar.series-0").first.wait_for(state="detached")
        page.evaluate(BARS, PAD)
        stroke(page, pad, [(x + i % 5, y - i % 5) for x, y in STROKE])
        waits.append(page.evaluate("() => window.waited"))
    return waits


def move_rate(page: Page, rounds: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds from each key press on the inner rate's slider to its number and to the kernel's answer.

    Args:
        page: the page of a theatre that is training.
        rounds: number of key presses.
    """
    theatre = page.locator(THEATRE)
    page.evaluate(RATES, THEATRE)
    theatre.locator("input[type=range]").focus()
    answered = "n => window.waits.output.length >= n && window.waits.kernel.length >= n"
    for number in range(rounds):
        page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
        page.wait_for_function(answered, arg=number + 1)
        page.wait_for_timeout(APART)
    waits = page.evaluate("() => window.waits")
    return waits["output"], waits["kernel"]
