"""The figures that move, in a real browser: JupyterLab, Notebook 7, Voila and a page without a kernel.

Without a Chromium these tests skip; under ``CI=true`` they fail instead. Screenshots go to ``artifacts/``.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browser import (
    ROOT,
    choose_theme,
    draws,
    guarded_page,
    listen,
    look,
    moves,
    moves_by_key_and_by_drag,
    moves_with_its_kernel,
    sent,
    shoot,
)
from playwright.sync_api import Browser, Page, expect
from waiting import wait_until

from mamlkit.commands.course import copy_notebooks
from mamlkit.commands.lab import trust
from mamlkit.show.widgets import FitExplorer
from mamlkit.study.bench.browser import KERNEL_IS_READY, run_all, write_empty
from mamlkit.study.bench.servers import Jupyter
from mamlkit.study.bench.stage import outputs_page

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
BOX = """import ipywidgets
import numpy as np
from mamlkit.commands.course import copy_notebooks
from mamlkit.commands.lab import trust
from mamlkit.show.widgets import FitExplorer
x = np.linspace(-5, 5, 21)
fits = {"a": np.outer(np.arange(11), np.sin(x))}
explorer = FitExplorer(x, np.sin(x), fits, losses={"a": 0.5 ** np.arange(11)}, support=(x[::5], np.sin(x[::5])))
said = ipywidgets.Label(value="[0]")
explorer.observe(lambda change: setattr(said, "value", f"Python heard {change['new']}"), "at")
ipywidgets.VBox([explorer, said])"""
LIVE = """import ipywidgets
import numpy as np
import torch
from mamlkit.show.widgets import FitExplorer, Live
torch.set_num_threads(1)
x = np.linspace(-5, 5, 101)


def make(n_steps):
    weight = torch.randn(200, 200) @ torch.randn(200, 200)  # some work for the kernel
    fits = {"a": np.outer(np.arange(2), np.sin(x + n_steps / 10)) + 0 * float(weight[0, 0])}
    return FitExplorer(x, np.sin(x), fits, losses={"a": np.array([1.0, 1.0 + n_steps])}, support=(x, x), step=1)


Live(ipywidgets.IntSlider(0, 0, 50, description="inner steps"), make)"""


def explorers(name: str) -> list[str]:
    """Return the kinds of the explorers in a committed notebook."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    outputs = [
        output.get("data", {}).get("text/html", "") for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    return [kind for html in outputs for kind in re.findall(r'data-mamlkit="(\w+)"', html)]


MOVING = [name for name in NOTEBOOKS if explorers(name)]
first_circle_has_one = pytest.mark.parametrize(
    "name", [MOVING[0], *(pytest.param(name, marks=pytest.mark.long) for name in MOVING[1:])]
)


def test_every_notebook_but_the_reproduction_has_a_figure_that_moves() -> None:
    still = {name[:2] for name in NOTEBOOKS} - {name[:2] for name in MOVING}
    assert still <= {"09"}


def write_notebook(path: Path, source: str) -> None:
    metadata = nbformat.read(ROOT / "notebooks" / f"{NOTEBOOKS[0]}.ipynb", as_version=4).metadata
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=metadata), path)


@pytest.fixture(scope="module")
def course(jupyter: Jupyter) -> str:
    """The address of a Jupyter server: the course as ``mamlkit lab`` copies it, copies nobody trusts, two boxes."""
    work = jupyter.work
    for name in MOVING:
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        notebook.cells[0].source += "\n\nAnother text, so that trusting one copy does not trust both."
        notebook.cells[1].source += "  # changed"
        nbformat.write(notebook, work / f"cloned_{name}.ipynb")
    for name in NOTEBOOKS[:2]:
        write_empty(ROOT / "notebooks" / f"{name}.ipynb", work / f"empty_{name}.ipynb")
    write_notebook(work / "box.ipynb", BOX)
    write_notebook(work / "live.ipynb", LIVE)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in jupyter.environment.items():
            patch.setenv(key, value)
        trust(work / "course", copy_notebooks(ROOT / "notebooks", work / "course").written)
    return jupyter.address


@pytest.fixture(scope="module")
def lab(course: str, lab_page: Page) -> Page:
    """JupyterLab with nothing open."""
    lab_page.goto(f"{course}/lab?reset")
    lab_page.wait_for_function("() => window.jupyterapp")
    lab_page.evaluate("() => jupyterapp.restored")
    return lab_page


def reopen(page: Page, path: str) -> None:
    """Open a notebook of the course, and nothing else."""
    page.evaluate("() => { jupyterapp.commands.execute('application:close-all'); }")
    discard = page.locator(".jp-Dialog button", has_text="Discard")
    wait_until(lambda: not page.locator(".jp-NotebookPanel").count(), lambda: discard.count() and discard.click())
    page.evaluate("path => jupyterapp.commands.execute('docmanager:open', { path }).then(() => {})", path)
    page.wait_for_function(KERNEL_IS_READY)  # JupyterLab has errors of its own if it is closed while the kernel starts


@first_circle_has_one
def test_a_reopened_notebook_moves_with_nothing_run_in_both_themes(lab: Page, name: str) -> None:
    page = lab
    reopen(page, f"course/{name}.ipynb")
    roots = page.locator("[data-mamlkit].mamlkit-explorer")
    roots.last.wait_for()
    choose_theme(page, "Light")
    assert roots.count() == len(explorers(name))
    light = []
    for number, root in enumerate(roots.all()):
        moves(page, root)
        shoot(root, f"{name}_{number}_light")
        light.append(root.screenshot())
    choose_theme(page, "Dark")
    for number, root in enumerate(roots.all()):
        shoot(root, f"{name}_{number}_dark")
        assert root.screenshot() != light[number]
    page.screenshot(path=ROOT / "artifacts" / f"{name}_page.png")


@first_circle_has_one
def test_a_notebook_that_is_not_trusted_shows_the_picture(lab: Page, name: str) -> None:
    page = lab
    reopen(page, f"cloned_{name}.ipynb")
    picture = page.locator(".jp-RenderedHTML img[alt], .jp-RenderedImage img").last
    picture.wait_for()
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.naturalWidth") > 100


@pytest.mark.long
def test_notebook_7_moves_too(course: str, browser: Browser) -> None:
    # Notebook 7.6 itself raises these while a page loads, with or without a figure of ours.
    own = ("Cannot read properties of undefined (reading 'schema')", "Command 'filebrowser:open-path' not registered")
    with guarded_page(browser, known=own) as page:
        page.goto(f"{course}/notebooks/course/{MOVING[-1]}.ipynb")
        root = page.locator("[data-mamlkit].mamlkit-explorer").first
        root.wait_for()
        moves(page, root)
        shoot(root, "notebook7")


@pytest.mark.long
def test_the_drawing_pad_of_the_welcome_answers_from_the_kernel(course: str, page: Page) -> None:
    page.goto(f"{course}/lab/tree/empty_{NOTEBOOKS[0]}.ipynb?reset")
    run_all(page)
    pad = page.locator(".mamlkit-explorer:not([data-mamlkit])")
    pad.wait_for()
    pad.get_by_text("Now draw the query").wait_for()
    draws(page, pad, says="most likely")
    shoot(pad, "pad")
    pad.get_by_role("button", name="Clear").click()
    pad.get_by_text("Now draw the query").wait_for()
    assert pad.get_by_role("button", name="class 1", exact=True).is_disabled()  # the given ones stay


@pytest.mark.long
def test_a_voila_page_moves_and_computes(course: str, browser: Browser) -> None:
    # Voila's own template asks these hosts for fonts and MathJax; it gets neither here, and our figures need neither.
    with guarded_page(browser, spared=("cdn.jsdelivr.net", "cdnjs.cloudflare.com")) as page:
        page.goto(f"{course}/voila/render/live.ipynb")
        page.locator(".mamlkit-explorer [role=img]").wait_for()
        moves_with_its_kernel(page)
        moves_by_key_and_by_drag(page, page.locator(".mamlkit-explorer"))
        shoot(page.locator("body"), "voila")


def test_an_explorer_in_a_widget_box_tells_python_where_its_slider_is(course: str, page: Page) -> None:
    page.goto(f"{course}/lab/tree/box.ipynb?reset")
    run_all(page)
    root = page.locator(".mamlkit-explorer")
    root.locator("input[type=range]").wait_for()
    moves_by_key_and_by_drag(page, root)
    root.locator("input[type=range]").focus()
    page.keyboard.press("End")
    page.get_by_text("Python heard [10]").wait_for()
    shoot(root, "box")


def test_a_live_figure_follows_and_a_key_is_one_message(course: str, page: Page) -> None:
    page.goto(f"{course}/lab/tree/live.ipynb?reset")
    run_all(page)
    live = page.locator(".widget-vbox", has=page.locator(".noUi-base"))
    figure = live.locator("[role=img]")
    figure.wait_for()
    before = look(live)
    handle = live.locator(".noUi-handle").bounding_box()
    page.mouse.move(handle["x"] + 5, handle["y"] + 5)
    page.mouse.down()
    page.mouse.move(handle["x"] + 60, handle["y"] + 5, steps=4)
    page.mouse.up()
    expect(figure).not_to_have_attribute("aria-label", before[1])
    page.wait_for_function(KERNEL_IS_READY)  # it has drawn the last of them
    listen(page)
    for number in range(1, 4):
        now = figure.get_attribute("aria-label")
        page.locator(".noUi-handle").focus()
        page.keyboard.press("ArrowRight")
        expect(figure).not_to_have_attribute("aria-label", now)
        assert sent(page, '"state":{"value":') == number
    wait_until(lambda: look(live)[0] != before[0])  # the words come first, the picture is decoded then
    shoot(live, "live")


@pytest.mark.long
def test_the_live_figure_of_the_first_notebook_follows(course: str, page: Page) -> None:
    page.goto(f"{course}/lab/tree/empty_{NOTEBOOKS[1]}.ipynb?reset")
    run_all(page)
    page.locator(".noUi-base").wait_for()
    page.locator(".jp-CodeCell .jp-InputPrompt", has_text="[*]").first.wait_for(state="detached")
    figure = page.locator(".widget-vbox", has=page.locator(".noUi-base")).locator("[role=img]")
    for _ in range(3):
        now = figure.get_attribute("aria-label")
        page.locator(".noUi-handle").focus()
        page.keyboard.press("ArrowRight")
        expect(figure).not_to_have_attribute("aria-label", now)


def static_page(folder: Path) -> str:
    x, steps = np.linspace(-5, 5, 101), np.arange(11)
    fits = {name: np.outer(steps, wave) / 10 for name, wave in {"MAML": np.sin(x), "random": np.cos(x)}.items()}
    fits["random"][5, 20:40] = np.nan
    losses = {"MAML": 0.5**steps, "random": np.where(steps == 5, np.inf, 3.0)}
    explorer = FitExplorer(x, np.sin(x), fits, losses=losses, support=(x[::10], np.sin(x[::10])))
    file = folder / "static.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{explorer.html()}", encoding="utf-8")
    return file.as_uri()


def test_a_static_page_without_a_kernel_moves_and_shows_gaps(offline_page: Page, tmp_path: Path) -> None:
    offline_page.goto(static_page(tmp_path))
    root = offline_page.locator(".mamlkit-explorer")
    moves_by_key_and_by_drag(offline_page, root)
    root.locator("input").fill("4")
    assert root.locator(".note").inner_text() == ""
    whole = root.locator("path.series-1").first.get_attribute("d")
    root.locator("input").fill("5")
    assert "21 values are not finite" in root.locator(".note").inner_text()
    broken = root.locator("path.series-1").first.get_attribute("d")
    assert (whole.count("M"), broken.count("M")) == (1, 2)
    assert "not finite" in look(root)[1]
    shoot(root, "static_gap")


@pytest.mark.parametrize("name", MOVING)
def test_a_moved_control_is_drawn_at_once_and_without_a_kernel(offline_page: Page, name: str, tmp_path: Path) -> None:
    offline_page.goto(outputs_page(ROOT / "notebooks" / f"{name}.ipynb", tmp_path))
    seen = offline_page.evaluate(
        """() => [...document.querySelectorAll("[data-mamlkit] input[type=range]")].flatMap((slider) => {
          if (slider.closest("[data-mamlkit=DrawingPad]")) return []; // it needs its kernel
          const words = () => slider.closest(".mamlkit-explorer").querySelector("[role=img]").ariaLabel;
          const before = words();
          slider.value = slider.value === slider.max ? slider.min : slider.max;
          slider.dispatchEvent(new Event("input"));
          return [[before, words()]]; // no frame and no other event lies between the two
        })"""
    )
    assert all(before != after for before, after in seen)
