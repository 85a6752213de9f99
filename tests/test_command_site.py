"""``mamlkit site``: pages that ask for nothing from elsewhere, in a folder of whose files none is lost."""

from __future__ import annotations

import importlib.util
import json
import posixpath
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner, Result

from mamlkit.__main__ import main
from mamlkit.commands import site
from mamlkit.commands.course import notebooks_folder
from mamlkit.core.errors import InputError

RESOURCES = ("src", "srcset", "poster", "data", "action", "background", "formaction", "xlink:href")
SILENT = ("code", "pre", "script", "style", "math")  # in these a dollar is no equation
NAMES = site.notebook_names(notebooks_folder(), solutions=True)


class Page(HTMLParser):
    """What a page links to, asks for and says."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.asked: list[str] = []
        self.ids: set[str] = set()
        self.prose = ""
        self.within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.links += [given["href"]] if tag == "a" else []
        self.asked += [given["href"]] if tag != "a" and "href" in given else []
        self.asked += [given[name] for name in RESOURCES if name in given]
        self.ids |= {given["id"]} if "id" in given else set()
        self.within += [tag] if tag in SILENT else []

    def handle_endtag(self, tag: str) -> None:
        if tag in self.within:
            self.within.remove(tag)

    def handle_data(self, data: str) -> None:
        self.prose += "" if self.within else data


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["site", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the real course."""
    out = tmp_path_factory.mktemp("site") / "deep" / "course"
    result = invoke(out)
    assert result.exit_code == 0, result.output
    assert f"The course is in {out}: {len(NAMES) + 1} pages" in result.stdout
    return out


def write_notebook(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_markdown_cell(text, id=f"cell-{i}") for i, text in enumerate(texts)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small course, with solutions, and files that are not part of it."""
    source = tmp_path / "originals"
    for name in ("00_a", "01_b", "solutions/00_a", "solutions/01_b"):
        write_notebook(source / f"{name}.ipynb", f"# {posixpath.basename(name)}\n\nnotebook [00](00_a.ipynb), $x_1$")
    write_notebook(source / ".ipynb_checkpoints" / "00_a.ipynb", "old")
    (source / "build.py").touch()
    monkeypatch.setattr(site, "notebooks_folder", lambda: source)
    return source


def test_every_notebook_and_every_solution_has_its_page(real: Path) -> None:
    assert set(contents(real)) == {"index.html", *(f"{name}.html" for name in NAMES), site.MANIFEST}
    index = Page((real / "index.html").read_text("utf-8"))
    assert {f"{name}.html" for name in NAMES} <= set(index.links)
    assert index.prose.count("Objectives.") == sum("/" not in name for name in NAMES)
    assert index.prose.count("Minutes:") == sum(not name.startswith("solutions/") for name in NAMES)


@pytest.mark.parametrize("name", ["index", *NAMES])
def test_a_page_asks_for_nothing_and_links_only_to_pages_and_references(real: Path, name: str) -> None:
    html = (real / f"{name}.html").read_text("utf-8")
    page = Page(html)
    assert [asked for asked in page.asked if not asked.startswith("data:")] == []
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|import\(", html)
    assert len([link for link in page.links if ".ipynb" in link]) == 0
    for link in page.links:
        path, _, mark = link.partition("#")
        if link.startswith("https://"):
            continue
        target = real / posixpath.dirname(name) / path if path else real / f"{name}.html"
        assert target.is_file(), f"{name}: {link} leads nowhere"
        assert not mark or mark in Page(target.read_text("utf-8")).ids, f"{name}: {link} leads nowhere"


@pytest.mark.parametrize("name", ["index", *NAMES])
def test_every_equation_is_mathml(real: Path, name: str) -> None:
    html = (real / f"{name}.html").read_text("utf-8")
    assert "$" not in Page(html).prose
    for equation in re.findall(r"<math.*?</math>", html, re.DOTALL):
        assert "\\" not in equation
    source = (notebooks_folder() / f"{name}.ipynb").read_text("utf-8") if name != "index" else ""
    assert ("<math" in html) >= ("$$" in source)


def test_the_pages_follow_each_other_and_lead_to_their_solutions(course: Path, tmp_path: Path) -> None:
    assert invoke(tmp_path / "out").exit_code == 0
    links = {name: Page(page.decode()).links for name, page in contents(tmp_path / "out").items() if "html" in name}
    assert links == {
        "index.html": [
            *("00_a.html", "00_a.html", "solutions/00_a.html"),
            *("01_b.html", "00_a.html", "solutions/01_b.html"),
        ],
        "00_a.html": [*(top := ["index.html", "solutions/00_a.html", "01_b.html"]), "#00_a", "00_a.html", *top],
        "01_b.html": [*(top := ["00_a.html", "index.html", "solutions/01_b.html"]), "#01_b", "00_a.html", *top],
        "solutions/00_a.html": [*(top := ["../index.html", "../00_a.html", "01_b.html"]), "#00_a", "00_a.html", *top],
        "solutions/01_b.html": [*(top := ["00_a.html", "../index.html", "../01_b.html"]), "#01_b", "00_a.html", *top],
    }


def test_a_second_run_gives_the_same_bytes_and_solutions_can_be_left_out(course: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert invoke(out).exit_code == 0
    first = contents(out)
    assert invoke(out).exit_code == 0
    assert contents(out) == first
    (out / ".DS_Store").write_text("the system's")
    assert invoke(out, "--no-solutions").exit_code == 0
    assert set(contents(out)) == {"00_a.html", "01_b.html", "index.html", site.MANIFEST, ".DS_Store"}
    assert not (out / "solutions").exists()
    assert "solutions" not in (out / "00_a.html").read_text("utf-8") + (out / "index.html").read_text("utf-8")


def users_file(out: Path) -> None:
    (out / "solutions" / "mine.txt").write_text("mine")


def changed_page(out: Path) -> None:
    (out / "index.html").write_text("mine")


def lost_list(out: Path) -> None:
    (out / site.MANIFEST).unlink()


def broken_list(out: Path) -> None:
    (out / site.MANIFEST).write_text("[1")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (users_file, r"out holds solutions/mine\.txt, not from mamlkit site or changed since"),
        (changed_page, r"out holds index\.html, not from mamlkit site or changed since"),
        (lost_list, r"out holds .*\.html, not from mamlkit site or changed since; choose an empty folder"),
        (broken_list, r"\.mamlkit-site\.json is not the list of files that mamlkit wrote; delete it"),
    ],
)
def test_a_folder_with_files_of_someone_else_is_refused_and_left_alone(
    spoil: Callable[[Path], None], sentence: str, course: Path, tmp_path: Path
) -> None:
    assert invoke(tmp_path / "out").exit_code == 0
    spoil(tmp_path / "out")
    before = contents(tmp_path)
    result = invoke(tmp_path / "out")
    assert result.exit_code == 2
    assert re.search(sentence, result.stderr)
    assert result.stderr.count("\n") == 1
    assert contents(tmp_path) == before


def test_a_list_that_names_files_elsewhere_does_no_harm(course: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").write_text("mine")
    names = {"../mine": site.sha256(tmp_path / "mine"), "gone.html": "0"}
    (tmp_path / "out" / site.MANIFEST).write_text(json.dumps(names))
    assert invoke(tmp_path / "out").exit_code == 0
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_is_refused(course: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    result = invoke(tmp_path / "out")
    assert (result.exit_code, result.stderr) == (2, f"Error: {tmp_path / 'out'} is a file; choose a folder\n")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("content", ["{", "[]", "{}", "not JSON", '{"nbformat": 4, "nbformat_minor": 5, "cells": 1}'])
def test_a_broken_notebook_is_named_and_nothing_is_written(content: str, course: Path, tmp_path: Path) -> None:
    (course / "solutions" / "01_b.ipynb").write_text(content)
    result = invoke(tmp_path / "out")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"Error: \S+solutions.01_b\.ipynb is not a notebook \(\w+\); restore the original\n", result.stderr
    )
    assert not (tmp_path / "out").exists()


def test_a_broken_equation_is_named_with_its_notebook(course: Path, tmp_path: Path) -> None:
    write_notebook(course / "01_b.ipynb", "# 01 b", r"$x_1_2$")
    result = invoke(tmp_path / "out")
    assert result.exit_code == 2
    assert r"notebook 01_b: the equation 'x_1_2' is not LaTeX" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_write_that_fails_leaves_the_older_site(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / "out", site.write_whole

    def fill_up(path: Path, content: bytes) -> None:
        if path.name == "01_b.html":
            raise InputError("the disk is full")
        write(path, content)

    assert invoke(out, "--no-solutions").exit_code == 0
    before = contents(out)
    monkeypatch.setattr(site, "write_whole", fill_up)
    for target in (out, tmp_path / "new"):
        result = invoke(target)
        assert (result.exit_code, result.stderr) == (2, "Error: the disk is full\n")
    assert contents(out) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("missing", site.PACKAGES)
def test_without_its_packages_one_sentence_says_how_to_get_them(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    result = invoke(tmp_path / "out")
    assert result.exit_code == 2
    assert f'mamlkit site needs {missing}; install with: pip install "mamlkit[site]"' in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_other_commands_do_not_load_what_only_the_site_needs() -> None:
    program = f"import sys, json, mamlkit.__main__; print(json.dumps([n in sys.modules for n in {site.PACKAGES}]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not any(json.loads(done.stdout))
