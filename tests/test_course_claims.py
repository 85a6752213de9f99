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


def test_each_engine_computes_the_seventh_fix_equal_or_refuses_it() -> None:
    text = printed("11")
    for engine in ("eager", "vmap", "auto"):
        assert re.search(rf"^{engine}: equal\.", text, re.MULTILINE)
    assert re.search(r"^compiled: refused\. engine = 'compiled' does not know inner_decay", text, re.MULTILINE)


def test_the_ablation_of_the_seventh_fix_has_a_difference_and_a_verdict_for_each_strength() -> None:
    line = r"decay (0\.\d+) .* difference +[+-][\d.]+ \+- +[\d.]+ points: (?:no difference is seen|decay is \w+)"
    assert re.findall(line, printed("11")) == ["0.001", "0.1"] * 2  # made in the notebook, and stored


def test_five_methods_stand_beside_each_other_with_both_statistics_and_their_difference_from_maml() -> None:
    number = r" +[+-]?[\d.]+ \+- +[\d.]+\*?"
    rows = re.findall(rf"^([\w+-]+)((?:{number}){{2,3}})$", printed("11"), re.MULTILINE)
    assert [name for name, _ in rows] == ["MAML", "MAML++", "Meta-SGD", "Reptile", "prototypes"]
    assert [numbers.count("+- ") for _, numbers in rows] == [2, 3, 3, 3, 3]
