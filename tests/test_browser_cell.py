"""A cell of the atlas in JupyterLab: trained to its end before the reader's eyes, and marked on the map."""

from __future__ import annotations

import re

import pytest
from browser import ROOT, run_again, shoot
from playwright.sync_api import Page, expect

from mamlkit.study.bench.servers import Jupyter

PAGE = ROOT / "notebooks" / "live" / "watch.ipynb"


@pytest.mark.long
def test_a_cell_is_trained_to_its_end_and_marked_with_its_outcome(jupyter: Jupyter, lab_page: Page) -> None:
    jupyter.open(lab_page, PAGE)
    run_again(lab_page)
    cell = lab_page.locator(".mamlkit-explorer.cell")
    note, figure = cell.locator(".note"), cell.locator("[role=img]")
    expect(note).to_contain_text("Press Start to train network 8 layers, plain")
    assert cell.locator(".mark-text").count() == 0
    cell.scroll_into_view_if_needed()
    cell.get_by_role("button", name="Start", exact=True).click()
    expect(note).to_have_text("It is training.")
    begin = figure.get_attribute("aria-label")
    expect(cell.locator(".count")).to_contain_text(re.compile(r"meta-iteration [1-9]\d+ of 120"), timeout=120_000)
    assert figure.get_attribute("aria-label") != begin
    shoot(cell, "live_cell_training")
    expect(note).to_contain_text("It died", timeout=300_000)
    expect(note).to_contain_text("In the atlas, 3 of 3 runs died")
    expect(cell.locator(".mark-text")).to_have_text("✕")
    shoot(cell, "live_cell_died")
