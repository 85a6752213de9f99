"""The report of a grid that is not whole: executed once, and then read as its readers do."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from grids import make_grid
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from mamlkit.core.errors import InputError
from mamlkit.study.reproduction import measurements, report
from mamlkit.study.reproduction.cell import RECORD
from mamlkit.study.reproduction.tables import TABLES

COMMAND = "mamlkit reproduce omniglot-ablation --scale smoke --dataset glyphs"
SECTIONS = (
    "What was run",
    "Results",
    "Beside the paper",
    "What each setting changes",
    "Accuracy against iterations, time and arithmetic",
    "Gradients",
    "Learned inner rates",
    "Runs that diverged",
    "Reproduce this report",
)


class Resources(HTMLParser):
    """Collect what a page would ask for, and the alternative texts of its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.texts: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "poster", "action") and not str(value).startswith("data:"):
                self.asked.append(f"{tag} {name}={value}")
            if (tag, name) == ("img", "alt"):
                self.texts.append(str(value))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ablation with two seeds, of which one run is missing, and its report; for reading only."""
    folder = tmp_path_factory.mktemp("grid")
    plan = make_grid(folder)
    (folder / "cells" / "maml+ca-seed1" / RECORD).unlink()
    assert report.write(plan, folder, COMMAND) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def html(grid: Path) -> str:
    return (grid / report.PAGE).read_text(encoding="utf-8").replace("\xa0", " ")


def test_the_page_has_every_section_in_order(html: str) -> None:
    found = re.findall(r"<h[23][^>]*>(.*?)</h[23]>", html)
    assert found == list(SECTIONS)
    assert re.findall(r"<h1[^>]*>(.*?)</h1>", html) == [TABLES["omniglot-ablation"].title]
    assert f"<title>{TABLES['omniglot-ablation'].title}</title>" in html


def test_the_page_asks_for_nothing_from_elsewhere_and_runs_no_program(html: str) -> None:
    resources = Resources()
    resources.feed(html)
    assert resources.asked == []
    assert resources.tags & {"script", "link", "iframe", "object", "embed"} == set()
    assert re.findall(r"url\(|@import|https?://", html) == []
    assert "default-src 'none'" in html


def test_the_page_has_five_pictures_with_words_and_no_code(html: str) -> None:
    resources = Resources()
    resources.feed(html)
    assert len(resources.texts) == 5
    assert all(len(text) > 40 for text in resources.texts)
    assert "shown." not in html
    assert "measurements.read" not in html
    assert "Traceback" not in html


def test_the_page_names_the_missing_run_and_how_to_get_it(html: str) -> None:
    assert "<strong>runs</strong> 13 of 14" in html
    assert "<code>maml+ca-seed1</code>" in html
    assert COMMAND in html
    assert "could not be checked against a second source" in " ".join(html.split())


def test_the_page_has_the_numbers_of_the_table(html: str) -> None:
    assert "63.50 ± 6.35" in html  # MAML, two seeds
    assert "+2.00 ± 0.00" in html  # the multi-step loss
    assert "+10.00 ± –" in html  # cosine annealing, of which one seed is missing


def test_the_notebook_is_there_with_its_code_and_parameters(grid: Path) -> None:
    notebook = nbformat.read(grid / report.NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert f'command = "{COMMAND}"' in sources
    assert 'results = "results.parquet"' in sources
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def test_the_table_lies_beside_it(grid: Path) -> None:
    frame = measurements.read(grid / report.TABLE)
    assert len(frame.attrs["cells"]) == 13


def test_a_report_is_written_until_a_newer_run_is_done(grid: Path, tmp_path: Path) -> None:
    assert report.is_written(grid)
    assert not report.is_written(tmp_path)
    (tmp_path / "report.html").write_text("page")
    record = tmp_path / "cells" / "maml-seed0" / RECORD
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({}))
    os.utime(record, ns=(1, (tmp_path / "report.html").stat().st_mtime_ns - 1))
    assert report.is_written(tmp_path)
    os.utime(record, ns=(1, (tmp_path / "report.html").stat().st_mtime_ns))
    assert not report.is_written(tmp_path)


def test_the_terminal_has_a_line_for_each_setting(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.show(measurements.read(grid / report.TABLE))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    [maml] = [line for line in lines if line.startswith(" MAML ") and "63.50" in line]
    assert maml.split() == ["MAML", "63.50", "±", "6.35", "0.71", "±", "1.00"]
    [plus] = [line for line in lines if line.startswith(" MAML++")]
    assert plus.split()[1:] == ["75.50", "±", "6.35", "0.71", "±", "1.00", "+12.00", "±", "0.00", "helps"]
    assert any("one seed: not told" in line for line in lines)


def test_without_any_run_there_is_no_report(tmp_path: Path) -> None:
    plan = make_grid(tmp_path, "stability", seeds=(0,))
    for record in tmp_path.glob(f"cells/*/{RECORD}"):
        record.unlink()
    with pytest.raises(InputError, match=r"^no run in .* is done; there is nothing to report$"):
        report.write(plan, tmp_path, COMMAND)
    assert not (tmp_path / report.PAGE).exists()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PapermillExecutionError(3, 3, "code", "ValueError", "no", []), r"report\.ipynb stopped: ValueError: no$"),
        (DeadKernelError("Kernel died"), r"^the kernel of .*report\.ipynb died; free some memory, and try again$"),
    ],
)
def test_a_report_that_stops_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("papermill.execute_notebook", stop)
    plan = make_grid(tmp_path, "stability", seeds=(0,))
    with pytest.raises(InputError, match=sentence):
        report.write(plan, tmp_path, COMMAND)
    assert (tmp_path / report.TABLE).exists()
    assert not report.is_written(tmp_path)
