"""``mamlkit data``: the list, and the check of each data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mamlkit.commands.data import command
from mamlkit.core.errors import InputError
from mamlkit.datasets import ImageStore
from mamlkit.datasets.omniglot import ARCHIVES


def run(*arguments: str) -> str:
    """Run the command and return its standard output."""
    result = CliRunner().invoke(command, arguments)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def row(name: str) -> list[str]:
    line = next(line for line in run().splitlines() if name in line)
    return [cell.strip() for cell in line.strip("│ ").split("│")]


def test_the_list_names_every_data_set_with_its_numbers(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    monkeypatch.setenv("MAMLKIT_DATA", "")
    assert row("glyphs") == ["glyphs", "1,050", "21,000", "28x28", "735/105/210", "packaged"]
    assert row("omniglot") == ["omniglot", "1,623", "32,460", "105x105", "1150/50/423", "absent (14 MB)"]
    assert row("mini-imagenet") == ["mini-imagenet", "100", "60,000", "84x84", "64/16/20", "absent"]
    assert row("folder")[4:] == ["64/16/20 %", "your pictures"]
    assert row("wall")[4:] == ["0/0/100 %", "drawn sheets"]
    assert f"cache: {own_cache}" in run()
    assert "data:  MAMLKIT_DATA is not set" in run()


def test_the_list_tells_what_is_present(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAMLKIT_DATA", str(tmp_path))
    (tmp_path / "mini-imagenet").mkdir()
    (tmp_path / "omniglot").mkdir()
    first, second = ARCHIVES
    (tmp_path / "omniglot" / first).touch()
    assert row("mini-imagenet")[-1] == "present"
    assert row("omniglot")[-1] == "absent (14 MB)"
    (tmp_path / "omniglot" / second).touch()
    assert row("omniglot")[-1] == "present"


def test_the_list_builds_nothing(own_cache: Path) -> None:
    run()
    assert not own_cache.exists()


def test_glyphs_are_described(glyphs: ImageStore) -> None:
    assert run("glyphs").splitlines() == [
        "glyphs: 1,050 classes, 21,000 images, 20 per class",
        "images: 28x28, grey",
        "splits: train 735, val 105, test 210 classes",
        f"sha256: {glyphs.sha256}",
    ]


def test_a_folder_is_checked_and_described(picture_folder: Callable[..., Path]) -> None:
    said = run("folder", str(picture_folder({"a": 2, "b": 3, "c": 4}, mode="RGB")), "--image-size", "20")
    assert "folder: 3 classes, 9 images, 2 to 4 per class\nimages: 20x20, colour\n" in said


def test_mini_imagenet_is_checked(picture_folder: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="is missing; the folders train, val, test are needed"):
        run("mini-imagenet", str(picture_folder({"a": 2, "b": 3, "c": 4})))


def test_omniglot_is_described(omniglot: ImageStore) -> None:
    said = run("omniglot")
    assert "omniglot: 1,623 classes, 32,460 images, 20 per class" in said
    assert f"sha256: {omniglot.sha256}" in said


@pytest.mark.usefixtures("omniglot")
def test_omniglot_archives_are_checked_even_when_the_cache_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHIVES, "images_evaluation.zip", "0" * 64)
    with pytest.raises(InputError, match=r"images_evaluation\.zip has SHA-256 cbc898af"):
        run("omniglot")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'glyphs'"):
        run("glyph")
