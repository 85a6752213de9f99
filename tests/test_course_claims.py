"""What the course promises to show, read from the outputs that are committed; strict nbval holds these to the code."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def printed(name: str) -> str:
    [path] = NOTEBOOKS.glob(f"{name}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_at_a_usual_rate_the_meta_gradient_of_the_plain_deep_network_alone_grows_a_million_times() -> None:
    rows = re.findall(r"^(.+?) +grows a million times in (\d) of 4 tasks$", printed("03"), re.MULTILINE)
    assert {name for name, count in rows if count != "0"} == {"8 layers, plain"}
    assert len(rows) == 4


def test_of_all_remedies_batch_norm_alone_brings_the_dead_runs_to_a_tenth() -> None:
    rows = re.findall(r"^(8 layers, .+?) +(\d+) of 12 died \(\d+ to \d+ %\)( +saves it)?$", printed("03"), re.MULTILINE)
    assert len(rows) == 9  # MAML, six methods on the same network, and two other networks
    assert [name for name, _, saves in rows if saves] == ["8 layers, batch norm: MAML"]


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
