"""What a number may depend on beside its configuration."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mamlkit.core.system import versions

ROOT = Path(__file__).parents[1]


def git(*arguments: str, folder: Path) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose one file is taken for the library's."""
    git("init", "-q", folder=tmp_path)
    file = tmp_path / "versions.py"
    file.write_text("a = 1\n", "utf-8")
    monkeypatch.setattr(versions, "__file__", str(file))
    monkeypatch.setattr(versions, "GIT", ("git", "-C", str(tmp_path)))
    return tmp_path


def test_the_git_commit_is_named_and_whether_the_source_was_changed_since(clone: Path) -> None:
    git("add", "versions.py", folder=clone)
    git("commit", "-q", "-m", "one", folder=clone)
    commit = git("rev-parse", "HEAD", folder=clone)
    assert versions.versions()["commit"] == commit
    (clone / "versions.py").write_text("a = 2\n", "utf-8")
    assert versions.versions()["commit"] == f"{commit}-dirty"


def test_a_library_that_lies_in_a_repository_of_others_has_no_commit_of_its_own(clone: Path) -> None:
    (clone / "theirs.txt").write_text("", "utf-8")
    git("add", "theirs.txt", folder=clone)
    git("commit", "-q", "-m", "theirs", folder=clone)
    assert versions.versions()["commit"] == "none: not a clone"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "GIT", ("git-that-is-not-there",))
    assert versions.versions()["commit"] == "none: not a clone"
