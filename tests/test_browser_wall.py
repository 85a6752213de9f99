"""The page class wall in JupyterLab and on a projector: the invented class, a real folder, and a bad one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from browser import ROOT, choose_theme, moves_by_key_and_by_drag, run_again, shoot
from playwright.sync_api import Locator, Page, expect

from mamlkit.datasets.drawings import Sheet
from mamlkit.show.live.wall import write_sample
from mamlkit.study.bench.servers import Dash, Jupyter

PAGE = ROOT / "notebooks" / "live" / "wall.ipynb"
TITLE = "What each drawing was taken for"


@pytest.fixture(scope="module")
def notebook(jupyter: Jupyter, lab_page: Page) -> Page:
    """The page in JupyterLab; each test runs it anew in the same kernel."""
    jupyter.open(lab_page, PAGE)
    return lab_page


def explorer(page: Page) -> Locator:
    """Wait until the page has been run through."""
    root = page.locator("[data-mamlkit=WallExplorer].mamlkit-explorer", has_text=TITLE)
    root.locator("[role=img]").wait_for()
    page.get_by_role("columnheader", name="taken for").wait_for()
    return root


def rows(page: Page, head: str) -> list[list[str]]:
    table = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name=head))
    return [row.get_by_role("cell").all_inner_texts() for row in table.get_by_role("row").all()[1:]]


@pytest.mark.long
def test_the_invented_class_is_said_to_be_one_and_its_wall_moves_in_both_themes(notebook: Page) -> None:
    page = notebook
    run_again(page)
    root = explorer(page)
    expect(page.locator("p", has_text="this is an invented class")).to_be_visible()
    methods = [cells[0] for cells in rows(page, "right (%)")]
    assert methods == ["MAML", "MAML++", "nearest neighbour", "guessing"]
    for method, percent in rows(page, "right (%)")[:3]:
        assert re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d", percent), method
    page.get_by_text("120 questions, out of 120 drawings: 10 characters by 12 drawers").wait_for()
    moves_by_key_and_by_drag(page, root)
    for name in ("Light", "Dark"):
        choose_theme(page, name)
        shoot(root, f"wall_{name.lower()}")
        for number, table in enumerate(page.get_by_role("table").all()):
            shoot(table, f"wall_{name.lower()}_table_{number}")
    assert page.locator("progress").count() == 0


@pytest.mark.long
def test_a_folder_of_sheets_is_tested_by_its_own_names(notebook: Page, tmp_path: Path) -> None:
    for number in range(4):
        classes = {
            name: (((10, 10 + number), (90 - 20 * i, 90)), ((10, 80), (30 + 20 * i, 20)))
            for i, name in enumerate(("roof", "fish", "snake"))
        }
        (tmp_path / f"anna-{number}.json").write_text(Sheet(classes).to_json(), "utf-8")
    page = notebook
    run_again(page, folder=str(tmp_path))
    root = explorer(page)
    expect(root.locator("[role=img]")).to_have_attribute("aria-label", re.compile("label 0 (roof|fish|snake)"))
    page.get_by_text("24 episodes of 3 characters").wait_for()
    page.get_by_text("out of 12 drawings: 3 characters by 4 drawers").wait_for()


@pytest.mark.long
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ({"bad.json": "not JSON"}, "bad.json is not JSON; it must be a sheet that a drawing pad exported."),
        ({"bad.json": json.dumps({"cells": []})}, "bad.json is not a sheet of drawings"),
    ],
    ids=["not JSON", "another JSON"],
)
def test_a_bad_folder_is_one_sentence_and_the_page_goes_on(
    notebook: Page, tmp_path: Path, spoil: dict[str, str], sentence: str
) -> None:
    write_sample(tmp_path, seed=1)
    for name, content in spoil.items():
        (tmp_path / name).write_text(content, "utf-8")
    page = notebook
    run_again(page, folder=str(tmp_path))
    said = page.locator(".jp-RenderedText", has_text=sentence)
    expect(said).to_contain_text("So this is the invented class.")
    assert len(said.inner_text().strip().splitlines()) == 1
    explorer(page)
    assert page.get_by_text("Traceback").count() == 0


@pytest.mark.long
def test_a_character_of_one_person_alone_is_named_and_left_out(notebook: Page, tmp_path: Path) -> None:
    write_sample(tmp_path, seed=1)
    (tmp_path / "one.json").write_text(Sheet({"$so|lo<": (((10, 10), (90, 90)),)}).to_json(), "utf-8")
    page = notebook
    run_again(page, folder=str(tmp_path))
    page.get_by_text("Drawn by one person alone, and so not asked: $so|lo<").wait_for()
    explorer(page)
    assert page.get_by_text("Traceback").count() == 0


@pytest.mark.long
def test_the_wall_moves_on_a_projector(dash: Dash, page: Page) -> None:
    page.set_viewport_size({"width": 1920, "height": 1080})
    page.goto(dash.page("wall"))
    moves_by_key_and_by_drag(page, explorer(page))
    page.screenshot(path=ROOT / "artifacts" / "wall_projector.png")
