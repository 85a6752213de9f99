"""``mamlkit bench --ui``: its table, its file, and what it refuses; the measuring itself on one page."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import ROOT
from click.testing import CliRunner
from playwright.sync_api import Browser

from mamlkit.__main__ import main
from mamlkit.core.errors import InputError
from mamlkit.study.bench import browser as browsers
from mamlkit.study.bench import load, servers, stage, ui
from mamlkit.study.bench.stage import Stage


class NoKernels:
    """A server without kernels."""

    def rest(self) -> None:
        """Do nothing."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows that need no browser, on a machine that is half busy."""

    @contextlib.contextmanager
    def nothing(notebooks: Path, samples: int) -> Iterator[int]:
        yield samples

    rows = [
        ui.Row(ui.SLIDER, "a page", (90.0, 110.0)),
        ui.Row(ui.IMPORT, "alone", (20.0,)),
        ui.Row(ui.READY, "x", (7.0,)),
    ]
    monkeypatch.setattr(stage, "stage", nothing)
    monkeypatch.setattr(load, "busy_share", lambda: 0.5)
    monkeypatch.setattr(ui, "PARTS", [("all", lambda samples: iter(rows[:samples]))])


def test_the_table_and_the_file_hold_every_row_and_what_it_depends_on(quick: None, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "--ui", "--samples", "3", "--out", str(tmp_path / "there")])
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    first = lines.index(f"From {ui.SLIDER}")
    assert lines[first + 1] == "a page 100 108 100 no"
    assert lines[first + 2 : first + 6] == [f"From {ui.IMPORT}", "alone 20 20 300 yes", f"From {ui.READY}", "x 7 7"]
    assert "Other programs used 50% of the processors" in " ".join(result.stdout.split())
    [file] = (tmp_path / "there").iterdir()
    content = json.loads(file.read_text())
    assert file.name == "ui.json"
    assert content.keys() == {"versions", "threads", "processor", "samples", "configs", "busy_share", "rows"}
    assert content["rows"][0] == {
        "what": ui.SLIDER,
        "where": "a page",
        "ms": [90.0, 110.0],
        "median": 100.0,
        "p90": 108.0,
        "bound": 100.0,
        "holds": False,
    }


def test_a_missing_package_is_one_sentence_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "playwright" else found(name, *rest)
    )
    result = CliRunner().invoke(main, ["bench", "--ui"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert '--ui needs playwright; install with: pip install "mamlkit[test]"' in " ".join(result.stderr.split())


def test_without_a_chromium_the_sentence_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers.shutil, "which", lambda _: None)

    class Chromium:
        executable_path = "nowhere"

    with pytest.raises(InputError, match="no Chromium was found; install the system's, or run: playwright install"):
        browsers.launch(Chromium())  # type: ignore[arg-type]


def test_a_server_that_ends_is_a_sentence_with_its_last_words(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"did not start: .*No module named never_there"),
        servers.dash_server(tmp_path, [*servers.DASHBOARD[:2], "never_there"]),
    ):
        pass


def test_each_explorer_of_the_course_is_moved_as_often_as_asked(browser: Browser) -> None:
    on: Any = Stage(browser, NoKernels(), "", ROOT / "notebooks", 2)  # type: ignore[arg-type]
    rows = {row.where: row for row in ui.explorers(on)}
    assert rows.keys() >= {"01_maml_from_scratch", "08_maml_plus_plus", "travel"}
    assert all(row.what == ui.SLIDER and len(row.ms) % 2 == 0 and min(row.ms) >= 0 for row in rows.values())
