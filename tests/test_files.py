"""Files are written whole or not at all, on a disk that is really full and under a limit of the system."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from disks import mounted

from mamlkit.core.errors import InputError
from mamlkit.core.system.files import append_whole, cache_dir, check_writable, write_whole

Writer = Callable[[Path, bytes], None]
BIG = b"x" * 500_000
each_writer = pytest.mark.parametrize("write", [write_whole, append_whole])


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes, by the system's own limit."""
    resource = pytest.importorskip("resource", reason="Windows has no file-size limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    with mounted(tmp_path / "disk", "size=200k") as disk:
        yield disk


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "file", b"\x00\r\n\xff")
    assert everything_in(tmp_path / "a" / "b") == {"file": b"\x00\r\n\xff"}


def test_a_file_takes_the_place_of_an_older_longer_one(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", BIG)
    write_whole(tmp_path / "file", b"new")
    assert everything_in(tmp_path) == {"file": b"new"}


def test_who_has_the_old_file_open_reads_it_to_the_end(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old and whole")
    with open(tmp_path / "file", "rb") as reader:
        write_whole(tmp_path / "file", b"new")
        assert reader.read() == b"old and whole"


def test_what_a_killed_program_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".file.tmp").write_bytes(BIG)
    write_whole(tmp_path / "file", b"new")
    assert everything_in(tmp_path) == {"file": b"new"}


def test_appending_begins_a_file_and_goes_on_at_its_end(tmp_path: Path) -> None:
    append_whole(tmp_path / "file", b"one\n")
    append_whole(tmp_path / "file", b"two\n")
    assert everything_in(tmp_path) == {"file": b"one\ntwo\n"}


@each_writer
def test_content_is_on_the_disk_itself_before_the_file_counts_as_written(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    write(tmp_path / "file", b"content")
    assert synced == [len(b"content")]


@each_writer
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(write: Writer, small_disk: Path) -> None:
    path = small_disk / "file"
    path.write_bytes(b"old")
    sentence = f"cannot write {path} (No space left on device); make room there, or choose another folder"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$") as caught:
        write(path, BIG)
    assert isinstance(caught.value.__cause__, OSError)
    assert everything_in(small_disk) == {"file": b"old"}


@each_writer
def test_after_room_is_made_the_same_call_succeeds(write: Writer, small_disk: Path) -> None:
    (small_disk / "rubbish").write_bytes(b"y" * 150_000)
    with pytest.raises(InputError, match="No space left on device"):
        write(small_disk / "file", BIG[:100_000])
    (small_disk / "rubbish").unlink()
    write(small_disk / "file", BIG[:100_000])
    assert everything_in(small_disk) == {"file": BIG[:100_000]}


@each_writer
@pytest.mark.parametrize("old", [b"", b"old content\n"])
def test_a_file_that_grows_too_large_is_named_and_is_as_it_was(write: Writer, old: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(old)
    with (
        largest_file(200_000),
        pytest.raises(InputError, match=rf"^cannot write {re.escape(str(tmp_path / 'file'))} \(File too large\); "),
    ):
        write(tmp_path / "file", BIG)
    assert everything_in(tmp_path) == {"file": old}


@each_writer
def test_a_new_file_that_does_not_fit_is_not_there(write: Writer, tmp_path: Path) -> None:
    with largest_file(200_000), pytest.raises(InputError, match="File too large"):
        write(tmp_path / "file", BIG)
    assert everything_in(tmp_path) == {}


def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not a folder")
    path = tmp_path / "file" / "inner"
    for write in (write_whole, append_whole):
        with pytest.raises(InputError, match=rf"cannot write {re.escape(str(path))} \((Not a directory|File exists)\)"):
            write(path, b"content")
    assert everything_in(tmp_path) == {"file": b"not a folder"}


@each_writer
def test_a_folder_in_place_of_the_file_is_reported_and_kept(write: Writer, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "inner").write_bytes(b"kept")
    with pytest.raises(InputError, match=r"cannot write .*file \(Is a directory\)"):
        write(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert everything_in(tmp_path / "file") == {"inner": b"kept"}


def test_a_place_that_can_be_written_to_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "file")
    assert everything_in(tmp_path / "new") == {}
    (tmp_path / "new" / "file").write_bytes(b"old")
    check_writable(tmp_path / "new" / "file")
    assert everything_in(tmp_path / "new") == {"file": b"old"}


def test_a_place_that_cannot_be_written_to_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not a folder")
    path = tmp_path / "file" / "inner"
    with pytest.raises(InputError, match=rf"^cannot write {re.escape(str(path))} \((Not a directory|File exists)\); "):
        check_writable(path)
    with pytest.raises(InputError, match=rf"^cannot write {re.escape(str(tmp_path))}: it is a folder; give the name"):
        check_writable(tmp_path)


def test_a_disk_that_takes_no_more_files_is_refused_beforehand(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(InputError, match=r"^cannot write .*file \(Read-only file system\); make room there"):
        check_writable(small_disk / "file")


def test_the_cache_is_where_the_environment_says_or_where_the_system_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAMLKIT_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.setenv("MAMLKIT_CACHE", "~/mine")
    assert cache_dir() == Path.home() / "mine"
    monkeypatch.delenv("MAMLKIT_CACHE")
    assert cache_dir().name == "mamlkit"
