"""``mamlkit copy``: the course in a folder, without a server."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from mamlkit.commands import copy
from mamlkit.commands.course import notebooks_folder


def test_the_course_is_copied_once_and_left_alone_later(tmp_path: Path) -> None:
    first = CliRunner().invoke(copy.command, [str(tmp_path / "course")])
    originals = {path.relative_to(notebooks_folder()) for path in notebooks_folder().rglob("[!.]*.ipynb")}
    assert f"{len(originals)} files written, 0 of yours corrected, 0 of yours kept" in first.stdout
    assert {path.relative_to(tmp_path / "course") for path in (tmp_path / "course").rglob("[!.]*.ipynb")} == originals
    again = CliRunner().invoke(copy.command, [str(tmp_path / "course")])
    assert "0 files written, 0 of yours corrected, 0 of yours kept" in again.stdout
