"""The course's notebooks: where the originals are, and copies of them that belong to the reader."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mamlkit.commands import merging
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import write_whole

FOLDER = Path("mamlkit-lab")  # of the copies, in the current folder
MANIFEST = ".mamlkit-lab.json"  # {file name: {"sha256": of the original, "cells": of it, see merging.Base}}
_PACKAGE = Path(__file__).resolve().parents[1]


class CopyReport(NamedTuple):
    """The result of ``copy_notebooks``: file names relative to the folder, sorted.

    Attributes:
        written: files that are now equal to the originals.
        merged: files that the reader changed and that got corrections of the original, with their numbers.
        kept: files that the reader changed, left as they are.
        unread: files that are no notebooks, left as they are, though the originals changed.
    """

    written: tuple[str, ...]
    merged: Mapping[str, merging.Counts]
    kept: tuple[str, ...]
    unread: tuple[str, ...]


def notebooks_folder() -> Path:
    """Return the folder of the original notebooks: in the installed package, or beside it in a source tree.

    Raises:
        InputError: this installation has no notebooks.
    """
    folders = (_PACKAGE / "notebooks", _PACKAGE.parent / "notebooks")
    for folder in folders:
        if any(folder.glob("*.ipynb")):
            return folder
    places = " and ".join(str(folder) for folder in folders)
    raise InputError(f"no notebooks in {places}; install mamlkit again, or run from a complete clone")


def copy_notebooks(source: Path, target: Path) -> CopyReport:
    """Copy every notebook, including the solutions, and merge later corrections into the reader's own copies.

    A copy that nobody changed is replaced. A copy that was run or edited is merged cell by cell with a corrected
    original, see ``merging.merge``; without a correction it stays as it is.

    Args:
        source: folder of the originals; it is not changed.
        target: folder of the copies; created if missing.

    Raises:
        InputError: ``target`` is a file, is ``source`` or lies inside it, has an invalid ``.mamlkit-lab.json``, or
            cannot be written.

    Writes: the copies and ``.mamlkit-lab.json`` in ``target``, each atomically.
    """
    source, target = source.resolve(), target.resolve()
    if target.is_relative_to(source):
        raise InputError(f"--dir {target} is inside the originals in {source}; choose another folder")
    if target.exists() and not target.is_dir():
        raise InputError(f"--dir {target} is a file; choose a folder")
    known = read_manifest(target / MANIFEST)
    written, merged, kept, unread = [], {}, [], []
    for original in _notebooks(source):
        name = original.relative_to(source).as_posix()
        copy, before = target / name, _entry(known.get(name))
        digest, present = sha256(original), sha256(copy) if copy.exists() else None
        if present in (None, digest, before["sha256"]):
            if present != digest:
                write_whole(copy, original.read_bytes())
                written.append(name)
            known[name] = {"sha256": digest, "cells": merging.base_of(_read(original))}
        elif before["sha256"] == digest or not before["cells"]:
            kept.append(name)
        elif (mine := _read(copy)) is None or (new := _read(original)) is None:
            unread.append(name)
        else:
            result = merging.merge(mine, new, before["cells"])
            if result.counts == merging.NOTHING:
                kept.append(name)
            else:
                write_whole(copy, merging.as_json(result.notebook))
                merged[name] = result.counts
            known[name] = {"sha256": digest, "cells": result.base}
    write_whole(target / MANIFEST, json.dumps(known).encode())
    return CopyReport(tuple(written), merged, tuple(kept), tuple(unread))


def describe(folder: Path, report: CopyReport) -> Iterator[str]:
    """Yield the lines that tell a reader what a copy did."""
    numbers = f"{len(report.written)} files written, {len(report.merged)} of yours corrected"
    yield f"The course is in {folder}: {numbers}, {len(report.kept) + len(report.unread)} of yours kept."
    for name, counts in report.merged.items():
        yield f"  corrected: {name} (cells updated: {counts.updated}, corrections below cells of yours: {counts.below})"
    for name in report.kept:
        yield f"  kept as you changed it: {name} (delete it to get the original back)"
    for name in report.unread:
        yield f"  kept, as it is no notebook: {name} (delete it to get the corrected original)"


def _entry(stored: Any) -> dict[str, Any]:
    """Return an entry of the list of copies; earlier versions stored the SHA-256 alone, and none is stored at first."""
    return stored if isinstance(stored, dict) else {"sha256": stored, "cells": []}


def _read(path: Path) -> dict[str, Any] | None:
    """Return a notebook with cells, or None if the file holds something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if merging.is_notebook(found) else None


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a command's list of the files that it wrote, by file name; empty if there is no list.

    Raises:
        InputError: the file is not such a list.
    """
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is not the list of files that mamlkit wrote; delete it") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _notebooks(source: Path) -> list[Path]:
    """Return the notebooks to copy, without hidden files, such as those of editors."""
    paths = sorted(source.rglob("*.ipynb"))
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(source).parts)]


def find_notebook(folder: Path, name: str) -> str:
    """Return the notebook of ``folder`` with the given name or beginning of a name (``03``, ``draw``).

    Raises:
        InputError: no notebook, or more than one, matches.
    """
    paths = [*sorted(folder.glob("*.ipynb")), *sorted((folder / "live").glob("*.ipynb"))]
    names = [path.relative_to(folder).as_posix() for path in paths]
    exact = [each for each, path in zip(names, paths) if name in (each, each.removesuffix(".ipynb"), path.stem)]
    found = exact or [each for each, path in zip(names, paths) if each.startswith(name) or path.stem.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"notebook {name!r} may be {' or '.join(found)}; give more of its name")
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"no notebook {name!r}; {hint}There are: {', '.join(names)}")
