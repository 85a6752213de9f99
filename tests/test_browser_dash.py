"""``mamlkit dash`` in a real browser: a list of pages, no code, large, figures that move, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser import ARTIFACTS, ROOT, moves_by_key_and_by_drag, moves_with_its_kernel, shoot
from dash_server import command, kernels_end
from playwright.sync_api import Page, expect

from mamlkit.commands.dash import about_pages
from mamlkit.study.bench.servers import Dash, dash_server

LIVE = """import ipywidgets
import numpy as np
from mamlkit.show.widgets import FitExplorer, Live

x = np.linspace(-5, 5, 101)


def make(n_steps):
    fits = {"a": np.outer(np.arange(2), np.sin(x + n_steps / 10))}
    return FitExplorer(x, np.sin(x), fits, losses={"a": np.array([1.0, 1.0 + n_steps])}, support=(x, x), step=1)


Live(ipywidgets.IntSlider(0, 0, 50, description="n_steps"), make)"""
PAGES = {
    "one": ("# The first page\n\n**Minutes:** 3. Move the curve\nby $x^2$. Then read on.", LIVE),
    "two": ("# The second page\n\nIts cell fails.", "1 / 0"),
}
SIZES = {"laptop": (1024, 768), "projector": (1920, 1080)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dash]:
    """A server with two small pages."""
    home = tmp_path_factory.mktemp("small-dash")
    (home / "live").mkdir()
    for name, (text, code) in PAGES.items():
        cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(code)]
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), home / "live" / f"{name}.ipynb")
    with dash_server(home, command(home / "live")) as address:
        yield address


@pytest.fixture(autouse=True)
def no_kernel_of_a_small_page_stays(small: Dash) -> Iterator[None]:
    """As ``no_kernel_stays``, for this server."""
    with kernels_end(small):
        yield


def test_the_list_leads_to_a_page_and_the_page_back_to_the_list(small: Dash, page: Page) -> None:
    page.goto(small.list)
    assert page.get_by_role("listitem").all_inner_texts() == [
        "The first page\nMove the curve by $x^2$.",
        "The second page",
    ]
    shoot(page.locator("body"), "dash_list")
    page.get_by_role("link", name="The second page").click()
    page.get_by_role("link", name="All pages").click()
    page.wait_for_url(f"http://localhost:{small.port}/")


@pytest.mark.long
def test_a_sign_of_progress_stands_there_until_the_kernel_is_done(small: Dash, page: Page) -> None:
    page.goto(small.page("one"), wait_until="commit")
    expect(page.locator("#loading")).to_contain_text("Executing")
    page.screenshot(path=ARTIFACTS / "dash_waiting.png")
    page.locator(".mamlkit-explorer [role=img]").wait_for()
    expect(page.locator("#loading")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_a_page_hides_its_code_and_its_figure_moves_and_computes(small: Dash, page: Page, theme: str) -> None:
    page.goto(small.page("one", theme=theme))
    page.locator(".mamlkit-explorer [role=img]").wait_for()
    assert page.get_by_text("linspace").count() == 0
    assert page.locator(".jp-InputArea-editor").count() == 0
    page.locator("mjx-container").wait_for()  # MathJax is here too
    moves_with_its_kernel(page)
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        moves_by_key_and_by_drag(page, page.locator(".mamlkit-explorer"))
        page.screenshot(path=ARTIFACTS / f"dash_{size}_{theme}.png")


@pytest.mark.long
def test_text_and_figure_grow_with_the_window_and_fit_into_it(small: Dash, page: Page) -> None:
    page.goto(small.page("one"))
    page.locator(".mamlkit-explorer [role=img]").wait_for()
    shown = []
    for width, height in ((700, 500), *SIZES.values()):
        page.set_viewport_size({"width": width, "height": height})
        shown.append([page.locator(each).bounding_box()["height"] for each in ("h1", ".mamlkit-explorer [role=img]")])
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert shown[0] < shown[1] < shown[2]
    text, figure = shown[-1]
    assert text > 40
    assert 300 < figure < SIZES["projector"][1]


def test_a_cell_that_fails_says_what_to_do(small: Dash, page: Page) -> None:
    page.goto(small.page("two"))
    page.get_by_text("There was an error when executing cell [1]. Run the page in JupyterLab to see why").wait_for()


def test_what_is_not_there_is_said_without_a_request_elsewhere(small: Dash, page: Page) -> None:
    answer = page.goto(small.page("three"))
    assert answer is not None
    assert answer.status == 404
    page.get_by_text("404").first.wait_for()


@pytest.mark.long
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks" / "live").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_live_page_of_the_kit_opens_without_code_or_error(dash: Dash, page: Page, path: Path) -> None:
    page.set_viewport_size({"width": 1920, "height": 1080})
    page.goto(dash.list)
    [title] = [each["title"] for each in about_pages(path.parent) if each["file"] == path.name]
    page.get_by_role("link", name=title, exact=True).click()
    page.get_by_role("heading", name=title).first.wait_for()
    figure = page.locator(".mamlkit-explorer").first
    figure.wait_for()
    assert page.locator(".jp-InputArea-editor").count() == 0
    assert page.get_by_text("There was an error").count() == 0
    figure.scroll_into_view_if_needed()
    page.screenshot(path=ARTIFACTS / f"dash_{path.stem}.png")
