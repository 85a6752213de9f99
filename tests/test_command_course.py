"""The copy of the course is the reader's: it follows corrections, loses nothing, and the originals are nobody's."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import nbformat
import pytest

from mamlkit.commands import course as copies
from mamlkit.core.errors import InputError


def notebook(*sources: str) -> str:
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{i:02}") for i, source in enumerate(sources)]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Make a small course: two notebooks, a solution, and what must not be copied."""
    source = tmp_path / "originals"
    copied = ("00-welcome.ipynb", "01-maml.ipynb", "solutions/01-maml.ipynb")
    for name in (*copied, ".ipynb_checkpoints/00.ipynb", "source/00-welcome.py", "build.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"original {name}")
    return source


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_first_copy_holds_the_notebooks_and_nothing_else(course: Path, tmp_path: Path) -> None:
    report = copies.copy_notebooks(course, tmp_path / "copy")
    assert report == (("00-welcome.ipynb", "01-maml.ipynb", "solutions/01-maml.ipynb"), {}, (), ())
    assert set(hashes(tmp_path / "copy")) == {*report.written, copies.MANIFEST}


def test_a_changed_file_is_kept_and_named_and_the_rest_is_left_alone(course: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copies.copy_notebooks(course, copy)
    (copy / "01-maml.ipynb").write_text("mine")
    (copy / "00-welcome.ipynb").unlink()
    report = copies.copy_notebooks(course, copy)
    assert report == (("00-welcome.ipynb",), {}, ("01-maml.ipynb",), ())
    assert (copy / "01-maml.ipynb").read_text() == "mine"
    assert copies.copy_notebooks(course, copy) == ((), {}, ("01-maml.ipynb",), ())


def test_a_copy_follows_its_original_and_keeps_what_the_reader_wrote(course: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in ("00-welcome.ipynb", "01-maml.ipynb"):
        (course / name).write_text(notebook("a = 1", "b = 2", "c = 3"))
    copies.copy_notebooks(course, copy)
    (copy / "01-maml.ipynb").write_text(notebook("a = 1", "b = 'mine'", "c = 3"))
    for name in ("00-welcome.ipynb", "01-maml.ipynb"):
        (course / name).write_text(notebook("a = 1", "b = 'corrected'", "c = 'corrected'"))
    report = copies.copy_notebooks(course, copy)
    assert report == (("00-welcome.ipynb",), {"01-maml.ipynb": (1, 1)}, (), ())
    cells = [cell.source for cell in nbformat.read(copy / "01-maml.ipynb", 4).cells]
    below = "# The course corrected this cell. Yours is above.\nb = 'corrected'"
    assert cells == ["a = 1", "b = 'mine'", below, "c = 'corrected'"]
    assert copies.copy_notebooks(course, copy) == ((), {}, ("01-maml.ipynb",), ())
    lines = "\n".join(copies.describe(copy, report))
    assert "1 files written, 1 of yours corrected, 0 of yours kept" in lines
    assert "corrected: 01-maml.ipynb (cells updated: 1, corrections below cells of yours: 1)" in lines


def test_a_second_correction_arrives_too(course: Path, tmp_path: Path) -> None:
    copy, name = tmp_path / "copy", "01-maml.ipynb"
    (course / name).write_text(notebook("a = 1", "b = 2"))
    copies.copy_notebooks(course, copy)
    (copy / name).write_text(notebook("a = 'mine'", "b = 2"))
    for version in (1, 2):
        (course / name).write_text(notebook("new = 0", "a = 1", f"b = 'correction {version}'"))
        copies.copy_notebooks(course, copy)
    cells = [cell.source for cell in nbformat.read(copy / name, 4).cells]
    assert cells == ["new = 0", "a = 'mine'", "b = 'correction 2'"]


@pytest.mark.parametrize(
    "spoiled", ["no notebook", "[" * 100_000, '{"cells": [1]}', '{"cells": [{"cell_type": "code"}]}']
)
def test_a_file_that_is_no_notebook_is_kept_and_named(course: Path, tmp_path: Path, spoiled: str) -> None:
    copy, name = tmp_path / "copy", "01-maml.ipynb"
    (course / name).write_text(notebook("a = 1"))
    copies.copy_notebooks(course, copy)
    (copy / name).write_text(spoiled)
    (course / name).write_text(notebook("a = 2"))
    report = copies.copy_notebooks(course, copy)
    assert report == ((), {}, (), (name,))
    assert (copy / name).read_text() == spoiled
    assert f"kept, as it is no notebook: {name}" in "\n".join(copies.describe(copy, report))


def test_a_copy_of_an_earlier_version_of_mamlkit_is_kept_if_it_was_changed(course: Path, tmp_path: Path) -> None:
    copy, name = tmp_path / "copy", "01-maml.ipynb"
    copies.copy_notebooks(course, copy)
    entries = {name: entry["sha256"] for name, entry in json.loads((copy / copies.MANIFEST).read_text()).items()}
    (copy / copies.MANIFEST).write_text(json.dumps(entries))  # earlier versions stored the digests only
    (copy / name).write_text("mine")
    for changed in (name, "00-welcome.ipynb"):
        (course / changed).write_text(notebook("a = 2"))
    assert copies.copy_notebooks(course, copy) == (("00-welcome.ipynb",), {}, (name,), ())


def test_a_merge_that_cannot_be_written_leaves_the_readers_file(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, name = tmp_path / "copy", "01-maml.ipynb"
    (course / name).write_text(notebook("a = 1", "b = 2"))
    copies.copy_notebooks(course, copy)
    (copy / name).write_text(notebook("a = 'mine'", "b = 2"))
    (course / name).write_text(notebook("a = 1", "b = 3"))
    before = hashes(copy)

    def refuse(old: Path, new: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(InputError, match=r"cannot write .*01-maml\.ipynb \(No space left on device\)"):
            copies.copy_notebooks(course, copy)
    assert hashes(copy) == before
    assert copies.copy_notebooks(course, copy).merged == {name: (1, 0)}


def test_a_file_that_was_there_before_the_first_copy_is_kept(course: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "00-welcome.ipynb").write_text("mine from elsewhere")
    assert copies.copy_notebooks(course, copy).kept == ("00-welcome.ipynb",)


def test_the_originals_folder_a_file_and_a_broken_list_are_refused(course: Path, tmp_path: Path) -> None:
    before = hashes(course)
    for target in (course, course / "inner"):
        with pytest.raises(InputError, match="inside the originals"):
            copies.copy_notebooks(course, target)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        copies.copy_notebooks(course, tmp_path / "file")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / copies.MANIFEST).write_text("[1")
    with pytest.raises(InputError, match="delete it"):
        copies.copy_notebooks(course, tmp_path / "copy")
    assert hashes(course) == before


def test_a_failed_write_is_named_and_leaves_no_temporary_file(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"cannot write .*00-welcome\.ipynb \(No space left on device\)"):
        copies.copy_notebooks(course, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_file_where_a_folder_should_be_is_named_and_kept(course: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "solutions").write_text("mine")
    with pytest.raises(InputError, match=r"cannot write .*solutions.01-maml\.ipynb"):
        copies.copy_notebooks(course, tmp_path / "copy")
    assert set(hashes(tmp_path / "copy")) == {"00-welcome.ipynb", "01-maml.ipynb", "solutions"}
    assert (tmp_path / "copy" / "solutions").read_text() == "mine"


def test_a_notebook_is_found_by_its_beginning_and_a_wrong_name_gets_the_nearest(course: Path) -> None:
    assert copies.find_notebook(course, "01") == "01-maml.ipynb"
    assert copies.find_notebook(course, "00-welcome") == "00-welcome.ipynb"
    with pytest.raises(InputError, match=r"00-welcome\.ipynb or 01-maml\.ipynb"):
        copies.find_notebook(course, "0")
    with pytest.raises(InputError, match=r"did you mean '01-maml\.ipynb'"):
        copies.find_notebook(course, "1-mmal")


def test_a_live_page_is_found_by_its_name_without_its_folder(course: Path) -> None:
    (course / "live").mkdir()
    for name in ("draw", "drum"):
        (course / "live" / f"{name}.ipynb").write_text("{}")
    for name in ("draw", "live/draw", "live/draw.ipynb", "dra"):
        assert copies.find_notebook(course, name) == "live/draw.ipynb"
    with pytest.raises(InputError, match=r"live/draw\.ipynb or live/drum\.ipynb"):
        copies.find_notebook(course, "dr")
