"""What the browser tests share: where a Chromium is, how a page is guarded, and how a reader moves a figure."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, Playwright, Route, expect

ROOT = Path(__file__).parents[1]
ARTIFACTS = ROOT / "artifacts"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOCAL = ("localhost", "127.0.0.1")
PATIENCE = 120_000  # milliseconds: a busy machine is slow, not broken
expect.set_options(timeout=PATIENCE)


def launch(playwright: Playwright) -> Browser:
    """Start the system's Chromium, or Playwright's own; without one the test skips, and fails under ``CI=true``."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), playwright.chromium.executable_path)
    if not Path(found).is_file():
        reason = "no Chromium: install the system's, or run `playwright install chromium`"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return playwright.chromium.launch(executable_path=found, args=FLAGS)


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
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    opened.on("pageerror", note)
    yield opened
    context.close()
    assert not strayed, f"requests left this machine: {strayed}"
    assert not errors, f"the page had errors: {errors}"


def wait_for(address: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


def look(root: Locator) -> tuple[bytes, str | None]:
    """Return what a reader sees of an explorer, and what one who cannot see hears."""
    figure = root.locator("[role=img]")
    return figure.screenshot(), figure.get_attribute("aria-label")


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
    """Play a round of a game: what was picked is judged."""
    game.get_by_role("button", name="Start").click()
    picture = game.locator("[role=img]").first
    before = picture.get_attribute("aria-label")
    game.locator("button.tile").first.click()
    assert "It is" in picture.get_attribute("aria-label") != before


def moves(page: Page, root: Locator) -> None:
    """Move whatever there is to move: a pad is drawn on, a game played, an explorer's controls are moved."""
    others = {"DrawingPad": draws, "GamePlayer": plays}
    others.get(root.get_attribute("data-mamlkit"), moves_by_key_and_by_drag)(page, root)


def outputs_page(notebook: Path, folder: Path) -> str:
    """Write what a notebook shows into one page that needs no kernel, and return its address."""
    cells = nbformat.read(notebook, as_version=4).cells
    outputs = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.get("outputs", [])]
    file = folder / f"{notebook.stem}.html"
    file.write_text("<!doctype html><meta charset=utf-8>" + "".join(outputs), encoding="utf-8")
    return file.as_uri()


def timed_moves(page: Page, moves: str) -> list[float]:
    """Return the milliseconds from each of 30 rounds of moves to the frame that is painted next.

    ``moves`` is JavaScript that has the number ``i`` of the round and awaits ``timed(() => ...)`` for each move.
    """
    waits: list[float] = page.evaluate(
        """async () => {
          const waits = [];
          const timed = async (move) => {
            const begin = performance.now();
            move();
            await new Promise(requestAnimationFrame);
            waits.push(performance.now() - begin);
          };
          for (let i = 0; i < 30; i += 1) { MOVES }
          return waits;
        }""".replace("MOVES", moves)
    )
    return waits


def drag(page: Page, slider: Locator, share: float) -> None:
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    at = int(slider.input_value()) / max(int(slider.get_attribute("max")), 1)
    page.mouse.move(box["x"] + 8 + (box["width"] - 16) * at, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, middle, steps=4)
    page.mouse.up()


def shoot(locator: Locator, name: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    locator.scroll_into_view_if_needed()
    locator.screenshot(path=ARTIFACTS / f"{name}.png")


class Jupyter(NamedTuple):
    """A Jupyter server: its address, the folder it serves, and the environment of its processes."""

    address: str
    work: Path
    environment: dict[str, str]

    def rest(self) -> None:
        """End every kernel, with whatever it still computes."""
        with urllib.request.urlopen(f"{self.address}/api/kernels", timeout=60) as answer:
            kernels = [each["id"] for each in json.load(answer)]
        for kernel in kernels:
            request = urllib.request.Request(f"{self.address}/api/kernels/{kernel}", method="DELETE")
            urllib.request.urlopen(request, timeout=60).close()

    def run(self, page: Page, notebook: Path, **parameters: Any) -> None:
        """Open a copy of a notebook without outputs and with other parameters in JupyterLab, and run all its cells."""
        copy = self.work / f"{len(list(self.work.iterdir())):03}_{notebook.name}"
        write_empty(notebook, copy, parameters)
        page.goto(f"{self.address}/lab/tree/{copy.name}?reset")
        run_all(page)


@contextmanager
def jupyter_server(home: Path) -> Iterator[Jupyter]:
    """Run JupyterLab, with its extensions for Notebook 7 and Voila, and nothing of the user's own."""
    work = home / "work"
    work.mkdir()
    settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # all cells are in the page
    (home / "config" / "labconfig").mkdir()
    no_news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (home / "config" / "labconfig" / "page_config.json").write_text(json.dumps(no_news))
    own = {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    environment = {**os.environ, **own}
    port = free_port()
    options = [
        f"--port={port}",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--IdentityProvider.token=",
        f"--notebook-dir={work}",
    ]
    options += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
    options += ["--ServerApp.disable_check_xsrf=True"]  # for ``Jupyter.rest``
    with (home / "log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/api", home / "log")
        yield Jupyter(f"http://127.0.0.1:{port}", work, own)
    finally:
        server.terminate()
        server.wait(20)


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_empty(source: Path, target: Path, parameters: Mapping[str, Any] = {}) -> None:
    """Copy a notebook without its outputs, with some of its parameters changed."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    nbformat.write(notebook, target)


def choose_theme(page: Page, name: str) -> None:
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {name}'}})")
    light = str(name == "Light").lower()
    page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")
    page.wait_for_timeout(500)  # the style sheet follows the attribute


KERNEL_IS_READY = """() => {
  const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
  return context?.isReady && context.session?.kernel?.status === "idle";
}"""


def run_all(page: Page) -> None:
    """Run every cell, once the kernel is there: before that JupyterLab drops the command, or asks which kernel."""
    page.locator(".jp-CodeCell .cm-content").first.click()
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    failed = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
    too_early = page.locator(".jp-Dialog", has_text="wait for the complete rendering").locator(".jp-mod-accept")
    page.wait_for_function(KERNEL_IS_READY)
    for _ in range(60):
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
        page.wait_for_timeout(2000)
        if too_early.count():
            too_early.click()
            continue
        for _ in range(240):
            texts = prompts.all_inner_texts()
            if all(re.search(r"\[\s*[0-9*]+\s*\]", text) for text in texts) or failed.count():
                return
            if not any("*" in text for text in texts):
                break  # some neither ran nor run
            page.wait_for_timeout(500)
    pytest.fail("not every cell was run")
