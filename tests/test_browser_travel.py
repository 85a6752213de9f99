"""The time-travel page, reopened with nothing run: pointed at, moved by keys, in both themes; and its gaps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from browser import ROOT, choose_theme, look, moves_by_key_and_by_drag, shoot
from playwright.sync_api import Locator, Page, expect
from test_widgets_travel import TWO, make

from mamlkit.commands import lab
from mamlkit.study.bench.servers import Jupyter
from mamlkit.study.bench.stage import outputs_page

PAGE = ROOT / "notebooks" / "live" / "travel.ipynb"


@pytest.fixture(scope="module")
def reopened(jupyter: Jupyter, lab_page: Page) -> Page:
    """The committed page in JupyterLab, trusted as ``mamlkit lab`` trusts it; nothing of it is run."""
    shutil.copy(PAGE, jupyter.work / "travel.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in jupyter.environment.items():
            patch.setenv(key, value)
        lab.trust(jupyter.work, ["travel.ipynb"])
    jupyter.show(lab_page, "travel.ipynb")
    lab_page.locator("[data-mamlkit=TravelExplorer].mamlkit-explorer").wait_for()
    return lab_page


@pytest.fixture
def root(reopened: Page) -> Locator:
    """The figure on the page, at the start of its first choice."""
    found = reopened.locator("[data-mamlkit=TravelExplorer].mamlkit-explorer")
    choose_theme(reopened, "Light")
    found.scroll_into_view_if_needed()
    reopened.mouse.move(5, 5)
    found.locator("[role=radiogroup] input").first.check()
    found.locator("input[type=range]").fill("0")
    return found


def parts(root: Locator) -> dict[str, list[str]]:
    """Return what stands in each part of the figure: contours, bars, table, the marks on the curves."""
    svg = root.locator("[role=img] > svg")
    every = {
        "contours": ("path.contour", "d"),
        "bars": ("rect.bar", "width"),
        "table": ("rect.cell", "fill"),
        "marks": (".mark", "y"),
        "here": ("line.truth", "x1"),
    }
    return {
        name: svg.evaluate("(svg, [css, key]) => [...svg.querySelectorAll(css)].map((e) => e.getAttribute(key))", [*of])
        for name, of in every.items()
    }


def point(page: Page, target: Locator) -> None:
    box = target.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)


def test_a_step_that_is_pointed_at_shows_all_of_itself(root: Locator) -> None:
    page, slider, start = root.page, root.locator("input[type=range]"), parts(root)
    point(page, root.locator(".chip[data-step='2']"))
    expect(slider).to_have_value("2")
    second = parts(root)
    assert all(second[name] != start[name] for name in start)
    assert "after 2 of 5 inner steps" in look(root)[1]
    point(page, root.locator("circle[data-step='3']"))
    expect(slider).to_have_value("3")
    point(page, root.locator("svg svg rect[data-step='1']").first)
    expect(slider).to_have_value("1")
    point(page, root.locator("svg svg rect[data-step='5']").last)
    expect(slider).to_have_value("5")
    page.mouse.move(5, 5, steps=3)
    expect(slider).to_have_value("5")
    assert "after 5 of 5 inner steps" in look(root)[1]


@pytest.mark.long
def test_a_pointer_at_rest_leaves_the_steps_to_the_keys(root: Locator) -> None:
    page, slider = root.page, root.locator("input[type=range]")
    point(page, root.locator(".chip[data-step='1']"))
    page.mouse.down()
    page.mouse.up()
    expect(slider).to_be_focused()
    for step in ("2", "3"):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(200)
        expect(slider).to_have_value(step)
    expect(root.locator(".chip.on")).to_have_attribute("data-step", "3")


@pytest.mark.long
def test_nothing_run_it_moves_by_keys_and_choice_in_both_themes(root: Locator) -> None:
    page = root.page
    moves_by_key_and_by_drag(page, root)
    for name in ("random", "MAML", "MAML++"):
        root.get_by_label(name, exact=True).check()
        for step in ("0", "1", "5"):
            root.locator("input[type=range]").fill(step)
            shoot(root, f"live_travel_{name}_{step}_light")
    root.get_by_label("MAML++", exact=True).check()
    root.locator("input[type=range]").fill("0")
    assert root.locator("rect.framed").count() == 2
    assert "2 of 10 rates negative" in look(root)[1]
    light = root.screenshot()
    choose_theme(page, "Dark")
    shoot(root, "live_travel_dark")
    assert root.screenshot() != light


def test_what_is_not_finite_is_a_gap_and_is_counted(offline_page: Page, tmp_path: Path) -> None:
    surfaces, path, lost = TWO.surfaces.clone(), TWO.path.clone(), TWO.query_loss.clone()
    surfaces[1, 0, :3] = torch.inf
    path[1, 2] = torch.nan
    lost[1] = torch.nan
    explorer = make(surfaces=surfaces, path=path, query_loss=lost)
    explorer.at = [1, 1]
    (tmp_path / "gaps.html").write_text(f"<!doctype html><meta charset=utf-8>{explorer.html()}", encoding="utf-8")
    offline_page.goto((tmp_path / "gaps.html").as_uri())
    root = offline_page.locator(".mamlkit-explorer")
    assert root.locator("rect.absent").count() == 3 + 9  # of the surface, and the whole table
    absent = 3 + 1 + 9 + 1 + 1  # with a place of the path, the query loss and the accuracy
    expect(root.locator(".note")).to_contain_text(f"{absent} values are not finite")
    assert "query images not finite" in look(root)[1]
    shoot(root, "live_travel_gaps")
    root.locator("input[type=range]").fill("0")
    assert root.locator("rect.absent").count() == 0


def test_a_moved_control_is_drawn_at_once_and_without_a_kernel(offline_page: Page, tmp_path: Path) -> None:
    offline_page.goto(outputs_page(PAGE, tmp_path))
    seen = offline_page.evaluate(
        """() => {
          const picture = () => document.querySelector("[role=img]").innerHTML;
          const seen = [picture()];
          document.querySelector('.chip[data-step="2"]').dispatchEvent(
            new PointerEvent("pointermove", { bubbles: true, clientX: 50, clientY: 9 }));
          seen.push(picture());
          document.querySelector("[role=radiogroup] input:not(:checked)").click();
          return [...seen, picture()];
        }"""
    )
    assert len(set(seen)) == 3
