"""The figures that move, in a real JupyterLab in a real browser: by key, by drag, in both themes, and offline.

Without a Chromium these tests skip; under ``CI=true`` they fail instead. Screenshots go to ``artifacts/``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, sync_playwright

from mamlkit.widgets import FitExplorer

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
EXPLORERS = {"01_maml_from_scratch": "FitExplorer", "02_episodes": "EpisodeExplorer"}
BOX = """import ipywidgets
import numpy as np
from mamlkit.widgets import FitExplorer
x = np.linspace(-5, 5, 21)
fits = {"a": np.outer(np.arange(11), np.sin(x))}
explorer = FitExplorer(x, np.sin(x), fits, losses={"a": 0.5 ** np.arange(11)}, support=(x[::5], np.sin(x[::5])))
said = ipywidgets.Label(value="0")
explorer.observe(lambda change: setattr(said, "value", f"Python heard {change['new']}"), "step")
ipywidgets.VBox([explorer, said])"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        found = next(filter(None, map(shutil.which, names)), playwright.chromium.executable_path)
        if not Path(found).is_file():
            reason = "no Chromium: install the system's, or run `playwright install chromium`"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which an error of its own, or a request to another machine, fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    strayed: list[str] = []
    errors: list[str] = []

    def guard(route: Route) -> None:
        if urlsplit(route.request.url).hostname in LOCAL:
            route.continue_()
        else:
            strayed.append(route.request.url)
            route.abort()

    context.route(lambda url: urlsplit(url).scheme in ("http", "https"), guard)
    context.set_default_timeout(120_000)  # a busy machine is slow, not broken
    opened = context.new_page()
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert not strayed, f"requests left this machine: {strayed}"
    assert not errors, f"the page had errors: {errors}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab of its own over copies of the notebooks: trusted, not trusted, and one with a widget box."""
    home = tmp_path_factory.mktemp("lab")
    work = home / "work"
    work.mkdir()
    for name in EXPLORERS:
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        nbformat.write(notebook, work / f"trusted_{name}.ipynb")
        notebook.cells[0].source += "\n\nAnother text, so that trusting one copy does not trust both."
        notebook.cells[1].source += "  # changed"
        nbformat.write(notebook, work / f"cloned_{name}.ipynb")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BOX)], metadata=notebook.metadata)
    nbformat.write(notebook, work / "box.ipynb")
    settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # all cells are in the page
    (home / "config" / "labconfig").mkdir()
    no_news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (home / "config" / "labconfig" / "page_config.json").write_text(json.dumps(no_news))
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    trusted = [str(path) for path in work.glob("trusted_*.ipynb")]
    subprocess.run([sys.executable, "-m", "jupyter", "trust", *trusted], env=env, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        f"--port={port}",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--IdentityProvider.token=",
        f"--notebook-dir={work}",
    ]
    options += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=env, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/api", home / "log")
        yield f"http://127.0.0.1:{port}/lab/tree", work
    finally:
        server.terminate()
        server.wait(20)


def wait_for(address: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def drag(page: Page, slider: Locator, share: float) -> None:
    """Pull the slider's thumb from its far left to ``share`` of the way."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, middle, steps=4)
    page.mouse.up()


def moves_by_key_and_by_drag(page: Page, root: Locator) -> None:
    slider, figure = root.locator("input[type=range]"), root.locator("[role=img]")
    figure.scroll_into_view_if_needed()
    before, label = figure.screenshot(), figure.get_attribute("aria-label")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "2"
    assert figure.screenshot() != before
    assert figure.get_attribute("aria-label") != label
    page.keyboard.press("Home")
    assert figure.screenshot() == before
    drag(page, slider, 0.6)
    assert int(slider.input_value()) > 2
    assert figure.screenshot() != before


def choose_theme(page: Page, name: str) -> None:
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {name}'}})")
    light = str(name == "Light").lower()
    page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")
    page.wait_for_timeout(500)  # the style sheet follows the attribute


def shoot(locator: Locator, name: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    locator.scroll_into_view_if_needed()
    locator.screenshot(path=ARTIFACTS / f"{name}.png")


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_reopened_notebook_moves_with_nothing_run_in_both_themes(lab, page: Page, name: str) -> None:
    page.goto(f"{lab[0]}/trusted_{name}.ipynb?reset")
    root = page.locator(f'[data-mamlkit="{EXPLORERS[name]}"]')
    root.locator("input[type=range]").wait_for(timeout=60_000)
    choose_theme(page, "Light")
    moves_by_key_and_by_drag(page, root)
    shoot(root, f"{name}_light")
    light = root.screenshot()
    choose_theme(page, "Dark")
    shoot(root, f"{name}_dark")
    page.screenshot(path=ARTIFACTS / f"{name}_page.png")
    assert root.screenshot() != light


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_notebook_that_is_not_trusted_shows_the_picture(lab, page: Page, name: str) -> None:
    page.goto(f"{lab[0]}/cloned_{name}.ipynb?reset")
    picture = page.locator(".jp-RenderedHTML img[alt], .jp-RenderedImage img").last
    picture.wait_for(timeout=60_000)
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.naturalWidth") > 100
    shoot(picture.locator("xpath=ancestor::*[contains(@class, 'jp-OutputArea-output')][1]"), f"{name}_untrusted")


def test_an_explorer_in_a_widget_box_tells_python_where_its_slider_is(lab, page: Page) -> None:
    page.goto(f"{lab[0]}/box.ipynb?reset")
    page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
    page.locator(".jp-Cell .cm-content").first.click()
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    root = page.locator(".mamlkit-explorer")
    root.locator("input[type=range]").wait_for(timeout=60_000)
    moves_by_key_and_by_drag(page, root)
    page.keyboard.press("End")
    page.get_by_text("Python heard 10").wait_for(timeout=10_000)
    shoot(root, "box")


def static_page(folder: Path) -> str:
    x, steps = np.linspace(-5, 5, 101), np.arange(11)
    fits = {name: np.outer(steps, wave) / 10 for name, wave in {"MAML": np.sin(x), "random": np.cos(x)}.items()}
    fits["random"][5, 20:40] = np.nan
    losses = {"MAML": 0.5**steps, "random": np.where(steps == 5, np.inf, 3.0)}
    explorer = FitExplorer(x, np.sin(x), fits, losses=losses, support=(x[::10], np.sin(x[::10])))
    file = folder / "static.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{explorer.html()}", encoding="utf-8")
    return file.as_uri()


def test_a_static_page_without_a_kernel_moves_and_shows_gaps(page: Page, tmp_path: Path) -> None:
    page.goto(static_page(tmp_path))
    root = page.locator(".mamlkit-explorer")
    moves_by_key_and_by_drag(page, root)
    root.locator("input").fill("4")
    assert root.locator(".note").inner_text() == ""
    whole = root.locator("path.series-1").first.get_attribute("d")
    root.locator("input").fill("5")
    assert "21 values are not finite" in root.locator(".note").inner_text()
    broken = root.locator("path.series-1").first.get_attribute("d")
    assert (whole.count("M"), broken.count("M")) == (1, 2)
    assert "not finite" in root.locator("[role=img]").get_attribute("aria-label")
    shoot(root, "static_gap")


def test_a_key_press_is_drawn_within_a_tenth_of_a_second(page: Page, tmp_path: Path) -> None:
    page.goto(static_page(tmp_path))
    waits = page.evaluate(
        """async () => {
          const slider = document.querySelector("input[type=range]");
          const waits = [];
          for (let i = 0; i < 40; i += 1) {
            const begin = performance.now();
            slider.value = i % 11;
            slider.dispatchEvent(new Event("input"));
            await new Promise(requestAnimationFrame);
            waits.push(performance.now() - begin);
          }
          return waits;
        }"""
    )
    assert np.percentile(waits, 90) < 100
