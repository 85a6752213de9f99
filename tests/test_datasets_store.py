"""The cache: built once, opened as a memory map, built again when in doubt, and never left half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from disks import mounted
from numpy.typing import NDArray

import mamlkit.datasets.store
from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import cache_dir
from mamlkit.datasets.store import Build, cached, data_dir

IMAGES = np.arange(5 * 8 * 8, dtype=np.uint8).reshape(5, 8, 8)


def make_build(images: Iterator[NDArray[np.uint8]] | None = None) -> Build:
    return Build(
        class_names=["a", "b"],
        counts=[2, 3],
        splits={"train": np.array([0]), "val": np.array([1]), "test": np.array([], dtype=np.int64)},
        image_shape=(8, 8),
        images=iter(IMAGES) if images is None else images,
        sha256=lambda: "f00d",
    )


def never() -> Build:
    raise AssertionError("the cache was built again")


def open_store(identity: int = 0) -> ImageStore:
    return cached("toy", "here", [identity], make_build)


def files() -> list[str]:
    return sorted(path.suffix for path in cache_dir().iterdir()) if cache_dir().exists() else []


def test_what_was_built_is_what_is_opened() -> None:
    open_store()
    store = cached("toy", "here", [0], never)
    assert np.array_equal(store.images, IMAGES)
    assert store.offsets.tolist() == [0, 2, 5]
    assert store.class_names == ("a", "b")
    assert {split: classes.tolist() for split, classes in store.splits.items()} == {
        "train": [0],
        "val": [1],
        "test": [],
    }
    assert (store.name, store.sha256) == ("toy", "f00d")


def test_images_are_a_read_only_map_of_the_file() -> None:
    store = open_store()
    assert isinstance(store.images.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


def test_two_sources_have_two_files() -> None:
    open_store()
    cached("toy", "there", [0], make_build)
    assert files() == [".json", ".json", ".npy", ".npy"]


def test_a_changed_source_is_built_again_over_the_old_file() -> None:
    open_store(0)
    with pytest.raises(AssertionError, match="built again"):
        cached("toy", "here", [1], never)
    open_store(1)
    assert files() == [".json", ".npy"]
    cached("toy", "here", [1], never)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "gone"])
def test_a_damaged_cache_is_built_again(suffix: str, damage: str) -> None:
    open_store()
    path = next(cache_dir().glob(f"*{suffix}"))
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10] if damage == "truncated" else b"")
    with pytest.raises(AssertionError, match="built again"):
        cached("toy", "here", [0], never)
    assert np.array_equal(open_store().images, IMAGES)


def broken(error: BaseException) -> Iterator[NDArray[np.uint8]]:
    yield IMAGES[0]
    raise error


@pytest.mark.parametrize("error", [InputError("bad picture"), KeyboardInterrupt()])
def test_a_build_that_breaks_off_leaves_nothing(error: BaseException) -> None:
    with pytest.raises(type(error)):
        cached("toy", "here", [0], lambda: make_build(broken(error)))
    assert files() == []


def test_a_build_that_breaks_off_keeps_the_cache_of_the_old_source() -> None:
    open_store()
    with pytest.raises(InputError, match="bad picture"):
        cached("toy", "here", [1], lambda: make_build(broken(InputError("bad picture"))))
    cached("toy", "here", [0], never)


def test_a_cache_folder_that_is_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAMLKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot write the cache file .*file.toy-.*\.npy .*set MAMLKIT_CACHE"):
        open_store()


BUILD_A_MEGABYTE = """
import sys
import numpy as np
from mamlkit.datasets.store import Build, cached
from mamlkit.core.errors import InputError
images = np.zeros((100, 100, 100), np.uint8)
build = Build(["a"], [100], {"train": np.array([0])}, (100, 100), images, lambda: "")
try:
    cached("big", "here", [], lambda: build)
except InputError as error:
    sys.exit(f"InputError: {error}")
"""


def build_a_megabyte(cache: Path, prelude: str = "") -> str:
    """Build 1 MB into ``cache`` in another process and return what it says."""
    run = subprocess.run(
        [sys.executable, "-c", prelude + BUILD_A_MEGABYTE],
        env={**os.environ, "MAMLKIT_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    return run.stderr


def test_a_full_disk_is_reported_with_the_file_and_the_need(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=200k") as disk:
        said = build_a_megabyte(disk)
        assert "InputError: cannot write the cache file" in said
        assert f"{disk}/big-" in said
        assert "(No space left on device); it needs 1.0 MB" in said
        assert list(disk.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file-size limit")
def test_a_file_size_limit_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    assert "(File too large); it needs 1.0 MB" in build_a_megabyte(tmp_path / "limited", limit)
    assert list((tmp_path / "limited").iterdir()) == []


def test_only_a_long_build_shows_a_bar_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setattr(mamlkit.datasets.store, "BAR_AFTER", 3600)
    open_store()
    assert capsys.readouterr() == ("", "")
    shutil.rmtree(own_cache)
    monkeypatch.setattr(mamlkit.datasets.store, "BAR_AFTER", 0)
    open_store()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "building toy" in captured.err


def test_folders_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAMLKIT_DATA", str(tmp_path))
    assert data_dir() == tmp_path
    monkeypatch.setenv("MAMLKIT_DATA", "")
    assert data_dir() is None
