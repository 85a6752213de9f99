"""Merge a corrected notebook into a reader's copy, cell by cell: nothing of the reader's is lost."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Cell = dict[str, Any]
Base = list[dict[str, Any]]  # type and source of the copied original's cells, each with its id in the reader's copy
NAMED = 5  # since minor version 5 of the format, cells have ids
ALIKE = 0.6  # smallest similarity of two sources that count as versions of one cell
MARKS = {
    "code": "# The course corrected this cell. Yours is above.\n",
    "markdown": "*The course corrected this cell. Yours is above.*\n\n",
}
DELETED = {
    "code": "# The course corrected this cell, which you had deleted.\n",
    "markdown": "*The course corrected this cell, which you had deleted.*\n\n",
}


class Counts(NamedTuple):
    """How many cells of the original went into a copy.

    Attributes:
        updated: cells that the reader had not edited, and that were replaced, added or removed.
        below: corrections of cells that the reader had edited or deleted; each is a new cell with a mark.
    """

    updated: int
    below: int


NOTHING = Counts(0, 0)


class Merged(NamedTuple):
    """The result of ``merge``."""

    notebook: dict[str, Any]
    counts: Counts
    base: Base  # for the next merge


def is_notebook(content: Any) -> bool:
    """Return whether this is the content of a notebook: a list of cells, each with a type and a source."""
    cells = content.get("cells") if isinstance(content, dict) else None
    return isinstance(cells, list) and all(map(_is_cell, cells))


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
        return False
    source = cell.get("source")
    return isinstance(source, str) or (isinstance(source, list) and all(isinstance(line, str) for line in source))


def base_of(notebook: Mapping[str, Any] | None) -> Base:
    """Return the cells of an original for a later merge; empty if it is no notebook."""
    cells = notebook["cells"] if notebook else []
    return [{"cell_type": cell["cell_type"], "source": source_of(cell), "id": cell.get("id")} for cell in cells]


def source_of(cell: Mapping[str, Any]) -> str:
    """Return the source of a cell as one text."""
    return "".join(cell["source"])


def as_json(notebook: Mapping[str, Any]) -> bytes:
    """Return the file of a notebook, in Jupyter's own form."""
    return (json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def merge(mine: Mapping[str, Any], new: Mapping[str, Any], base: Base) -> Merged:
    """Merge a corrected original into a reader's copy.

    The cells keep the reader's order. A cell that the reader did not edit follows the original, with the reader's
    outputs where the source is the same. A cell that the reader edited or added stays; a correction of it is a new cell
    below it. A cell that the reader deleted stays deleted, unless it was corrected.

    Args:
        mine: the reader's notebook.
        new: the corrected original.
        base: the cells of the original that was copied, see ``base_of``.
    """
    cells, originals = list(mine["cells"]), [dict(cell) for cell in new["cells"]]
    place, successor = _places(base, cells), _align(base, [*map(_key, originals)])
    groups: dict[int, list[Cell]] = {-1: []} | {m: [cell] for m, cell in enumerate(cells)}  # by place in the copy
    updated = below = 0
    for b, m in place.items():
        corrected = originals[successor[b]] if b in successor else None
        groups[m] = list(_followed(cells[m], base[b], corrected))
        below += len(groups[m]) - 1 if groups[m] else 0
        updated += groups[m][:1] != [cells[m]]
    homes = {successor[b]: m for b, m in place.items() if b in successor}
    olds = {n: base[b] for b, n in successor.items()}
    after, shown = -1, {n: groups[m][0] for n, m in homes.items()}  # the cells in the copy by place in the original
    for n, cell in enumerate(originals):
        if n in homes:
            after = homes[n]
        elif n not in olds:
            groups[after].append(cell)
            shown[n] = cell
            updated += 1
        elif not _same(cell, olds[n]):
            groups[after].append(_marked(cell, DELETED))
            below += 1
    merged = [cell for m in sorted(groups) for cell in groups[m]]
    _give_ids(merged, named=mine.get("nbformat_minor", 0) >= NAMED)
    now = [{**cell, "id": shown[n].get("id") if n in shown else None} for n, cell in enumerate(base_of(new))]
    return Merged({**mine, "cells": merged}, Counts(updated, below), now)


def _followed(mine: Cell, old: Mapping[str, Any], corrected: Cell | None) -> Iterator[Cell]:
    """Yield what a cell of the reader's becomes: nothing, itself, its correction, or itself and its correction."""
    if not _same(mine, old):
        yield mine
        if corrected and not _same(corrected, old) and not _same(corrected, mine):
            yield _marked(corrected, MARKS)
    elif corrected:
        yield mine if _same(corrected, old) else {**corrected, "id": mine.get("id")}


def _marked(cell: Cell, marks: Mapping[str, str]) -> Cell:
    text = marks.get(cell["cell_type"], "") + source_of(cell)
    return {**cell, "source": text.splitlines(keepends=True)}


def _key(cell: Mapping[str, Any]) -> tuple[str, str]:
    return cell["cell_type"], source_of(cell)


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return _key(a) == _key(b)


def _places(base: Base, cells: Sequence[Cell]) -> dict[int, int]:
    """Return the reader's cell for each cell of the base: the one with its id, or else one with its text."""
    ids = [cell.get("id") for cell in cells]
    by_id = {name: m for m, name in enumerate(ids) if name is not None and ids.count(name) == 1}
    found = {b: by_id[old["id"]] for b, old in enumerate(base) if old["id"] in by_id}
    left = [b for b in range(len(base)) if b not in found]
    free = [m for m in range(len(cells)) if m not in found.values()]
    more = _align([base[b] for b in left], [_key(cells[m]) for m in free])
    return found | {left[i]: free[j] for i, j in more.items()}


def _align(base: Base, keys: Sequence[tuple[str, str]]) -> dict[int, int]:
    """Return the place in ``keys`` of each cell of the base that has a version there."""
    olds, found = [*map(_key, base)], dict[int, int]()
    for tag, a, a_end, b, b_end in difflib.SequenceMatcher(None, olds, keys, autojunk=False).get_opcodes():
        paired = [*zip(range(a, a_end), range(b, b_end))]
        corrected = tag == "replace" and a_end - a == b_end - b and all(olds[i][0] == keys[j][0] for i, j in paired)
        if tag == "equal" or corrected:
            found.update(paired)
    pairs = [
        (_likeness(olds[b], keys[n]), b, n)
        for b in set(range(len(olds))) - set(found)
        for n in set(range(len(keys))) - set(found.values())
    ]
    taken = set(found.values())
    for likeness, b, n in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
        if likeness >= ALIKE and b not in found and n not in taken:
            found[b] = n
            taken.add(n)
    return dict(sorted(found.items()))


def _likeness(a: tuple[str, str], b: tuple[str, str]) -> float:
    if a[0] != b[0]:
        return 0.0
    matcher = difflib.SequenceMatcher(None, a[1], b[1], autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= ALIKE else 0.0


def _give_ids(cells: Sequence[Cell], *, named: bool) -> None:
    """Give each cell an id of its own; notebooks of older formats have none.

    Writes: the ids of ``cells``.
    """
    taken: set[str] = set()
    for i, cell in enumerate(cells):
        name = cell.pop("id", None)
        if named:
            digest = hashlib.sha256(f"{i} {source_of(cell)}".encode()).hexdigest()
            cell["id"] = digest[:8] if name is None or name in taken else name
            taken.add(cell["id"])
