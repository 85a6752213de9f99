"""The pages of ``mamlkit site``: each notebook as one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jinja2
import nbformat
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from mamlkit import __version__
from mamlkit.commands.site_equations import equation
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import why

TEMPLATE = Path(__file__).with_name("site.html.j2")
SOLUTIONS = "solutions/"
JOINED = re.compile(r'[(\[]?<math display="inline">(?:(?!<math).)*?</math>[^\s<]+', re.DOTALL)  # such as a comma
TITLE = re.compile(r"""(?:set_title\(|title=)["']([^"'{}]+)["']""")


class Link(NamedTuple):
    """A link of the navigation: its target and its text."""

    to: str
    words: str


class Output(NamedTuple):
    """An output of a cell: ``kind`` is html, still (a picture of a figure that needs a kernel), png or text."""

    kind: str
    content: str
    alt: str = ""


class Cell(NamedTuple):
    """A cell as HTML: text, or code with its outputs."""

    text: str
    outputs: tuple[Output, ...] = ()
    is_code: bool = False


class Entry(NamedTuple):
    """A notebook in the table of contents: the text of its first cell below the title, and its first picture."""

    link: Link
    head: str
    picture: str
    solution: Link | None


def render(source: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, HTML) of each page: ``index.html``, then one page for each notebook.

    Args:
        source: the folder of the notebooks.
        names: the notebooks in order, without suffix: ``03_x``, and ``solutions/03_x`` for its solution.

    Raises:
        InputError: a file is not a notebook, or an equation is not LaTeX.
    """
    course = {name: _read(source / f"{name}.ipynb") for name in names}
    entries = [_entry(name, course) for name in names if not name.startswith(SOLUTIONS)]
    yield "index.html", _page("The course of mamlkit", home="", entries=entries)
    for name, notebook in course.items():
        cells = [_cell(name, cell, names) for cell in notebook.cells]
        title = _title(name, notebook) + " (solutions)" * name.startswith(SOLUTIONS)
        home = posixpath.relpath("index.html", posixpath.dirname(name) or ".")
        yield f"{name}.html", _page(title, home=home, cells=cells, links=_links(name, course), number=_number(name))


class Renderer(IPythonRenderer):
    """nbconvert's Markdown renderer, with equations as MathML and links between the pages.

    Args:
        name: the notebook that contains the text.
        names: all notebooks that have a page; of links to other files, only the text is kept.
        place: folder of the page that shows the text.
    """

    def __init__(self, name: str, names: Collection[str], place: str) -> None:
        super().__init__(escape=False)
        self.folder, self.names, self.place = posixpath.dirname(name), names, place

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """Return a link; a link to a notebook becomes a link to its page."""
        parts = urlsplit(url)
        if parts.scheme or not parts.path:
            return str(super().link(text, url, title))
        target = posixpath.normpath(posixpath.join(self.folder, parts.path.removesuffix(".ipynb")))
        if target not in self.names:
            return text
        path = posixpath.relpath(f"{target}.html", self.place or ".")
        return str(super().link(text, parts._replace(path=path).geturl(), title))

    def inline_math(self, body: str) -> str:
        """Return ``$body$``."""
        return equation(body, "inline")

    def block_math(self, body: str) -> str:
        """Return ``$$body$$``."""
        return equation(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        """Return an environment, such as ``align``."""
        return equation(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(notebook)
    except (nbformat.ValidationError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a notebook ({type(error).__name__}); restore the original") from error
    return notebook


def _markdown(source: str, name: str, names: Collection[str], place: str) -> str:
    try:
        html = MarkdownWithMath(Renderer(name, names, place)).render(source)
    except InputError as error:
        raise InputError(f"notebook {name}: {why(error)}") from error
    return JOINED.sub(r'<span class="joined">\g<0></span>', html)


def _cell(name: str, cell: nbformat.NotebookNode, names: Collection[str]) -> Cell:
    if cell.cell_type != "code":
        return Cell(_markdown(cell.source, name, names, posixpath.dirname(name)))
    shown = (_output(output, cell.source) for output in cell.outputs)
    code: str = Highlight2HTML()(cell.source)  # type: ignore[no-untyped-call]
    return Cell(code, tuple(filter(None, shown)), is_code=True)


def _output(output: nbformat.NotebookNode, source: str) -> Output | None:
    """Return the richest form of an output that a page without a kernel can show."""
    data: Mapping[str, Any] = output.get("data", {"text/plain": output.get("text", "")})
    if "text/html" in data:
        page = data["text/html"]
        return Output("html" if "<script" in page or "<img" not in page else "still", page)
    if "image/png" in data:
        title = TITLE.search(source)
        alt = f"Figure: {title[1]}" if title else "The figure that the code above draws"
        return Output("png", data["image/png"].replace("\n", ""), alt)
    text: str = ansi2html(data.get("text/plain", ""))  # type: ignore[no-untyped-call]
    return Output("text", text) if text else None


def _title(name: str, notebook: nbformat.NotebookNode) -> str:
    found = re.match(r"# (.+)", notebook.cells[0].source) if notebook.cells else None
    return found[1].replace("`", "").strip() if found else posixpath.basename(name)


def _number(name: str) -> str:
    return posixpath.basename(name).split("_")[0]


def _entry(name: str, course: Mapping[str, nbformat.NotebookNode]) -> Entry:
    notebook = course[name]
    text = notebook.cells[0].source if notebook.cells else ""
    head = _markdown(re.sub(r"\A# .*\n", "", text), name, course, "")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = (output.data["image/png"] for output in outputs if "image/png" in output.get("data", {}))
    solution = Link(f"{SOLUTIONS}{name}.html", "With solutions") if SOLUTIONS + name in course else None
    link = Link(f"{name}.html", _title(name, notebook))
    return Entry(link, head, next(pictures, "").replace("\n", ""), solution)


def _links(name: str, course: Mapping[str, nbformat.NotebookNode]) -> dict[str, Link | None]:
    """Return the links to the previous and next notebook, and to the same notebook with or without solutions."""
    solved = name.startswith(SOLUTIONS)
    row = [each for each in course if each.startswith(SOLUTIONS) == solved]
    here = row.index(name)

    def link(to: str | None, words: str = "") -> Link | None:
        if to is None or to not in course:
            return None
        address = posixpath.relpath(f"{to}.html", posixpath.dirname(name) or ".")
        return Link(address, words or _title(to, course[to]))

    return {
        "previous": link(row[here - 1] if here else None),
        "next": link(row[here + 1] if here + 1 < len(row) else None),
        "other": link(*((name.removeprefix(SOLUTIONS), "Exercises") if solved else (SOLUTIONS + name, "Solutions"))),
    }


def _page(title: str, home: str, **parts: Any) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    absent = {"cells": (), "entries": (), "links": {}, "number": ""}
    return template.render({**absent, **parts}, title=title, home=home, version=__version__, colours=_colours)


def _colours(style: str, selector: str) -> str:
    """Return the rules of a style of pygments."""
    return "\n".join(HtmlFormatter(style=style).get_token_style_defs(selector))
