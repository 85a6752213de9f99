"""A correction of the course reaches a reader's copy, and nothing that the reader wrote is lost."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mamlkit.commands import merging
from mamlkit.commands.merging import base_of, merge

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").rglob("*.ipynb"))
FEW, MANY = range(5), range(5, 200)
EDITS = ("edit", "edit", "rewrite", "add", "delete", "move", "split", "run")
Notebook = dict[str, Any]


def make(*sources: str, kind: str = "code") -> Notebook:
    cells = [
        {"cell_type": kind, "source": source, "id": f"cell-{i:02}", "metadata": {}} for i, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def sources(notebook: Notebook) -> list[str]:
    return [merging.source_of(cell) for cell in notebook["cells"]]


ABC = make("alpha = 1", "beta = 2", "gamma = 3")


def test_cells_that_were_only_run_follow_the_original_and_keep_their_outputs() -> None:
    mine = copy.deepcopy(ABC)
    for cell in mine["cells"]:
        cell["outputs"] = ["run"]
    merged = merge(mine, make("alpha = 1", "beta = 20", "gamma = 3"), base_of(ABC))
    assert sources(merged.notebook) == ["alpha = 1", "beta = 20", "gamma = 3"]
    assert [cell.get("outputs") for cell in merged.notebook["cells"]] == [
        ["run"],
        None,
        ["run"],
    ]
    assert merged.counts == (1, 0)


def test_an_edited_cell_wins_and_its_correction_lands_below_it() -> None:
    mine = make("alpha = 1", "beta = 'mine'", "gamma = 3")
    merged = merge(mine, make("alpha = 1", "beta = 20", "gamma = 3"), base_of(ABC))
    below = "# The course corrected this cell. Yours is above.\nbeta = 20"
    assert sources(merged.notebook) == ["alpha = 1", "beta = 'mine'", below, "gamma = 3"]
    assert merged.counts == (0, 1)


def test_an_edited_cell_without_a_correction_is_left_alone_and_the_same_correction_is_not_repeated() -> None:
    mine = make("alpha = 'mine'", "beta = 20", "gamma = 3")
    merged = merge(mine, make("alpha = 1", "beta = 20", "gamma = 3"), base_of(ABC))
    assert sources(merged.notebook) == sources(mine)
    assert merged.counts == merging.NOTHING


def test_new_cells_arrive_at_their_place_and_removed_ones_go_unless_edited() -> None:
    new = make("first = 0", "alpha = 1", "between = 0", "gamma = 3", "last = 0")
    assert sources(merge(ABC, new, base_of(ABC)).notebook) == sources(new)
    mine = make("alpha = 1", "beta = 'mine'", "gamma = 3")
    assert "beta = 'mine'" in sources(merge(mine, new, base_of(ABC)).notebook)


def test_a_deleted_cell_stays_deleted_unless_it_is_corrected() -> None:
    mine = {**ABC, "cells": [ABC["cells"][0], ABC["cells"][2]]}
    assert sources(merge(mine, make("alpha = 1", "beta = 2", "gamma = 30"), base_of(ABC)).notebook) == [
        "alpha = 1",
        "gamma = 30",
    ]
    merged = merge(mine, make("alpha = 1", "beta = 20", "gamma = 3"), base_of(ABC))
    assert sources(merged.notebook)[1] == "# The course corrected this cell, which you had deleted.\nbeta = 20"


def test_the_readers_order_is_kept() -> None:
    mine = {**ABC, "cells": ABC["cells"][::-1]}
    merged = merge(mine, make("alpha = 10", "beta = 2", "gamma = 3"), base_of(ABC))
    assert sources(merged.notebook) == ["gamma = 3", "beta = 2", "alpha = 10"]


def test_a_copy_without_ids_is_matched_by_its_texts_and_gets_none() -> None:
    mine = make("alpha = 1", "beta = 2  # mine", "gamma = 3") | {"nbformat_minor": 4}
    for cell in mine["cells"]:
        del cell["id"]
    merged = merge(mine, make("alpha = 10", "beta = 20", "gamma = 3"), base_of(ABC))
    assert sources(merged.notebook)[:2] == ["alpha = 10", "beta = 2  # mine"]
    assert sources(merged.notebook)[2].endswith("beta = 20")
    assert not any("id" in cell for cell in merged.notebook["cells"])


def test_a_text_cell_is_marked_in_words() -> None:
    old, mine = make("A text.", kind="markdown"), make("My text.", kind="markdown")
    merged = merge(mine, make("A better text.", kind="markdown"), base_of(old))
    assert sources(merged.notebook)[1] == "*The course corrected this cell. Yours is above.*\n\nA better text."


def edited_at_random(notebook: Notebook, chance: random.Random) -> tuple[Notebook, list[str]]:
    """Return a reader's copy after some edits, and the sources that the reader wrote."""
    mine, written = copy.deepcopy(notebook), list[str]()
    cells = mine["cells"]
    for n in range(chance.randrange(1, 12)):
        i, what = (
            chance.randrange(len(cells)),
            chance.choice(["edit", "edit", "rewrite", "add", "delete", "move", "split", "run"]),
        )
        if what in ("edit", "rewrite"):
            text = f"{merging.source_of(cells[i])}\nmy line {n}" if what == "edit" else f"all mine {n}"
            cells[i]["source"] = text.splitlines(keepends=True)
        elif what == "add":
            cells.insert(i, dict(nbformat.v4.new_code_cell(f"my cell {n}", id=f"mine-{n}")))
        elif what == "delete" and len(cells) > 2:
            del cells[i]
        elif what == "move":
            cells.insert(chance.randrange(len(cells)), cells.pop(i))
        elif what == "split":
            lines = merging.source_of(cells[i]).splitlines(keepends=True)
            cells.insert(i + 1, {**copy.deepcopy(cells[i]), "source": lines[len(lines) // 2 :], "id": f"split-{n}"})
            cells[i]["source"] = lines[: len(lines) // 2]
        elif cells[i]["cell_type"] == "code":
            cells[i]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "run"}]
    if chance.random() < 0.2:
        for cell in cells:
            cell.pop("id", None)
    known = {merging.source_of(cell) for cell in notebook["cells"]}
    written = [source for source in sources(mine) if source not in known]
    return mine, written


def corrected_at_random(notebook: Notebook, chance: random.Random) -> tuple[Notebook, list[str]]:
    """Return a corrected original with the ids of the builder, by place, and the sources that it adds."""
    new = copy.deepcopy(notebook)
    for n in range(chance.randrange(1, 6)):
        i, what = chance.randrange(len(new["cells"])), chance.choice(["correct", "correct", "add", "remove"])
        if what == "correct":
            new["cells"][i]["source"] = f"{merging.source_of(new['cells'][i])}\ncorrection {n}"
        elif what == "add":
            new["cells"].insert(i, {"cell_type": "markdown", "source": f"A new cell {n}", "metadata": {}})
        elif len(new["cells"]) > 2:
            del new["cells"][i]
    for i, cell in enumerate(new["cells"]):
        cell["id"] = f"cell-{i:02}"
    known = {merging.source_of(cell) for cell in notebook["cells"]}
    return new, [source for source in sources(new) if source not in known]


@pytest.mark.parametrize("seed", [*FEW, *(pytest.param(seed, marks=pytest.mark.long) for seed in MANY)])
def test_every_notebook_keeps_random_edits_and_gets_random_corrections_twice(seed: int) -> None:
    chance = random.Random(seed)
    for path in NOTEBOOKS:
        original = json.loads(path.read_text("utf-8"))
        mine, written = edited_at_random(original, chance)
        base = base_of(original)
        for _ in range(2):
            original, corrections = corrected_at_random(original, chance)
            merged = merge(mine, original, base)
            found = sources(merged.notebook)
            assert [source for source in written if source not in found] == []
            assert [s for s in corrections if not any(text == s or text.endswith(f"\n{s}") for text in found)] == []
            nbformat.validate(merged.notebook)
            mine, base = merged.notebook, merged.base
            assert merge(mine, original, base).counts == merging.NOTHING
