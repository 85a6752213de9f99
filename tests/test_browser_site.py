"""The pages of ``mamlkit site`` in a real browser, from a folder, without any network and without Python.

Without a Chromium these tests skip; under ``CI=true`` they fail instead. Screenshots go to ``artifacts/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import ARTIFACTS, guarded_page, moves, shoot
from click.testing import CliRunner
from playwright.sync_api import Browser, Page

from mamlkit.__main__ import main
from mamlkit.commands.course import notebooks_folder
from mamlkit.commands.site import notebook_names

NAMES = notebook_names(notebooks_folder(), solutions=True)
MOVING = next(name for name in NAMES if "data-mamlkit" in (notebooks_folder() / f"{name}.ipynb").read_text("utf-8"))
COLOURS = """() => ["body", ".source", ".source .k, .source .kn", ".mamlkit-explorer"].map((selector) => {
  const { color, backgroundColor } = getComputedStyle(document.querySelector(selector));
  return [color, backgroundColor];
})"""
BODY = "getComputedStyle(document.body).color"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stick") / "course"
    result = CliRunner().invoke(main, ["site", str(out)])
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def asked(offline_page: Page) -> Iterator[list[str]]:
    """Fail the test if the page asks for anything but pages of the folder."""
    requests: list[str] = []
    refused: list[str] = []
    offline_page.on("request", lambda request: requests.append(request.url))
    offline_page.on("console", lambda message: refused.append(message.text))
    yield requests
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    assert refused == []


@pytest.mark.parametrize(
    "name", ["index", MOVING, *(pytest.param(name, marks=pytest.mark.long) for name in NAMES if name != MOVING)]
)
def test_a_page_opens_from_a_folder_without_a_network_and_its_figures_move(
    site: Path, offline_page: Page, asked: list[str], name: str
) -> None:
    address = (site / f"{name}.html").as_uri()
    offline_page.goto(address)
    assert [url for url in asked if url.startswith("file:")] == [address]
    roots = offline_page.locator("[data-mamlkit]")
    assert offline_page.locator("[data-mamlkit].mamlkit-explorer").count() == roots.count()
    for number, root in enumerate(roots.all()):
        moves(offline_page, root)
        if "/" not in name:
            shoot(root, f"site_{name}_{number}")
    for image in offline_page.locator("img").all():
        assert image.evaluate("image => image.naturalWidth") > 100
        assert image.get_attribute("alt")
    for equation in offline_page.locator("math[display=block]").all():
        assert equation.evaluate("math => math.scrollWidth - math.clientWidth") <= 0, equation.text_content()
    wide = offline_page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{name} is {wide} pixels wider than the window"


def test_equations_are_drawn_with_their_parts_in_place(site: Path, offline_page: Page, asked: list[str]) -> None:
    offline_page.goto((site / "01_maml_from_scratch.html").as_uri())
    equation = offline_page.locator("math[display=block]").first
    shoot(equation, "site_equation")
    base, below = (equation.locator("msub").first.locator(f"> :nth-child({i})").bounding_box() for i in (1, 2))
    assert below["x"] >= base["x"] + base["width"] - 1
    assert below["height"] < base["height"] * 1.5
    frame, column = equation.bounding_box(), offline_page.locator(".text").first.bounding_box()
    assert 15 < frame["height"] < 100
    assert frame["width"] <= column["width"]


def test_the_button_changes_the_theme_and_the_next_page_remembers(
    site: Path, offline_page: Page, asked: list[str]
) -> None:
    offline_page.goto((site / f"{MOVING}.html").as_uri())
    light, light_text = offline_page.evaluate(COLOURS), offline_page.evaluate(BODY)
    offline_page.screenshot(path=ARTIFACTS / "site_notebook_light.png")
    offline_page.get_by_role("button", name="Light or dark").click()
    dark, dark_text = offline_page.evaluate(COLOURS), offline_page.evaluate(BODY)
    assert all(after != before for after, before in zip(dark, light)), dark
    offline_page.screenshot(path=ARTIFACTS / "site_notebook_dark.png")
    offline_page.locator("header a[rel=next]").click()
    offline_page.wait_for_url((site / f"{NAMES[NAMES.index(MOVING) + 1]}.html").as_uri())
    assert offline_page.evaluate(BODY) == dark_text
    offline_page.emulate_media(media="print")
    assert offline_page.evaluate(BODY) == light_text
    assert not offline_page.locator("header nav").is_visible()
    offline_page.emulate_media(media="screen")
    offline_page.get_by_role("link", name="Contents").first.click()
    offline_page.wait_for_url((site / "index.html").as_uri())
    offline_page.get_by_role("button", name="Light or dark").click()
    assert offline_page.evaluate(BODY) == light_text
    offline_page.screenshot(path=ARTIFACTS / "site_index.png")


def test_without_a_choice_the_theme_is_the_systems(site: Path, browser: Browser) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        with guarded_page(browser, offline=True) as page:
            page.emulate_media(color_scheme=scheme)
            page.goto((site / f"{MOVING}.html").as_uri())
            colours[scheme] = page.evaluate(COLOURS)
    assert all(dark != light for dark, light in zip(colours["dark"], colours["light"]))


def test_a_narrow_window_scrolls_down_only(site: Path, offline_page: Page, asked: list[str]) -> None:
    offline_page.set_viewport_size({"width": 360, "height": 700})
    for name in ("index", *NAMES):
        offline_page.goto((site / f"{name}.html").as_uri())
        assert offline_page.evaluate("document.documentElement.scrollWidth") <= 360, name
