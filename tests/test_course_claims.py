"""What the course promises to show, read from the outputs that are committed; strict nbval holds these to the code."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def printed(name: str) -> str:
    [path] = NOTEBOOKS.glob(f"{name}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def growth(remedy: str) -> float:
    return float(re.search(rf"{remedy} +norm grows +([\d.,]+) times", printed("03"))[1].replace(",", ""))


def test_the_meta_gradient_of_plain_maml_grows_by_two_orders_of_magnitude() -> None:
    assert growth("plain MAML") >= 100


@pytest.mark.parametrize("remedy", ["first order", "smaller rate, 0.1"])
def test_with_the_fix_it_stays_within_one(remedy: str) -> None:
    assert growth(remedy) < 10


def test_drift_grows_with_depth() -> None:
    rows = re.findall(r"(MAML\+*) +drift of the first layer ([\d.]+), of the last ([\d.]+)", printed("06"))
    assert [name for name, _, _ in rows] == ["MAML", "MAML++"]
    for _, first, last in rows:
        assert float(last) > 5 * float(first)


def test_the_accuracy_table_has_both_statistics_and_three_ways_to_ask() -> None:
    text = printed("06")
    assert re.search(r"whole +one by one +unbalanced", text)
    table = re.findall(r"MAML(?:\+\+)? +(batch|running)((?: +\d+ \+- \d+ %){3})", text)
    assert [norm for norm, _ in table] == ["batch", "running"] * 2
