"""The pages of ``mamlkit site``: equations, links, and what each kind of output becomes."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import nbformat
import pytest

from mamlkit.commands import site_pages
from mamlkit.commands.site_pages import render

NAMES = ("00_a", "01_b", "solutions/00_a")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def html(markdown: str, name: str = "00_a") -> str:
    return site_pages._markdown(markdown, name, NAMES, posixpath.dirname(name)).strip()


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("$x < y$", '<p><math display="inline"><mrow><mi>x</mi><mo>&#x0003C;</mo><mi>y</mi></mrow></math></p>'),
        ("$$x$$", '<p><math display="block"><mrow><mi>x</mi></mrow></math></p>'),
        ("$$\nx\n= y\n$$", '<p><math display="block"><mrow><mi>x</mi><mo>&#x0003D;</mo><mi>y</mi></mrow></math></p>'),
        ("`$x` and `$y`", "<p><code>$x</code> and <code>$y</code></p>"),
    ],
)
def test_equations_become_mathml_and_dollars_in_code_stay(markdown: str, expected: str) -> None:
    assert html(markdown) == expected


def test_an_environment_is_an_equation_too() -> None:
    made = html(r"\begin{align}x &= 1 \\ y &= 2\end{align}")
    assert made.startswith('<p><math display="block">')
    assert made.count("<mtr>") == 2


@pytest.mark.parametrize(
    ("markdown", "joined"),
    [("of $x$, and", "M,"), ("(for $x$)", "M)"), ("for ($x$)", "(M)"), ("$x$-th", "M-th"), ("$x$ is $y$.", "M.")],
)
def test_an_equation_is_not_parted_from_the_comma_behind_it(markdown: str, joined: str) -> None:
    made = re.sub("<math.*?</math>", "M", html(markdown))
    assert f'<span class="joined">{joined}</span>' in made
    assert made.count("joined") == 1


@pytest.mark.parametrize(
    ("name", "markdown", "expected"),
    [
        ("00_a", "[b](01_b.ipynb)", '<a href="01_b.html">b</a>'),
        ("00_a", "[b](01_b.ipynb#part)", '<a href="01_b.html#part">b</a>'),
        ("00_a", "[s](solutions/00_a.ipynb)", '<a href="solutions/00_a.html">s</a>'),
        ("solutions/00_a", "[a](../00_a.ipynb)", '<a href="../00_a.html">a</a>'),
        ("solutions/00_a", "[b](01_b.ipynb)", "b"),
        ("00_a", "[data](../data/README.md)", "data"),
        ("00_a", "[here](#part)", '<a href="#part">here</a>'),
        ("00_a", "[paper](https://arxiv.org/abs/1)", '<a href="https://arxiv.org/abs/1">paper</a>'),
    ],
)
def test_a_link_leads_to_a_page_or_a_reference_or_is_left_out(name: str, markdown: str, expected: str) -> None:
    assert html(markdown, name) == f"<p>{expected}</p>"


def page(folder: Path, *cells: nbformat.NotebookNode) -> str:
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), folder / "03_x.ipynb")
    return dict(render(folder, ["03_x"]))["03_x.html"]


def shown(folder: Path, data: dict[str, str], source: str = "1") -> str:
    output = nbformat.v4.new_output("display_data", data=data)
    text = page(folder, nbformat.v4.new_code_cell(source, outputs=[output]))
    return text[text.index('<div class="source">') : text.index("</main>")]


def test_an_explorer_comes_whole(tmp_path: Path) -> None:
    explorer = "<div data-mamlkit='X'><img src='data:,'></div><script>1 < 2</script>"
    made = shown(tmp_path, {"text/html": explorer, "image/png": PIXEL, "text/plain": "X()"})
    assert explorer in made
    assert PIXEL not in made
    assert "mamlkit lab" not in made


def test_what_needs_a_kernel_is_a_picture_that_says_how_to_run_it(tmp_path: Path) -> None:
    made = shown(tmp_path, {"text/html": f'<img alt="a pad" src="data:image/png;base64,{PIXEL}">', "text/plain": "Pad"})
    assert 'alt="a pad"' in made
    assert "<code>mamlkit lab 03</code>" in made


@pytest.mark.parametrize(
    ("source", "alt"),
    [
        ('axes.set(xlabel="x", title="Three <tasks>")', "Figure: Three &lt;tasks&gt;"),
        ("axes.set_title('Two tasks')", "Figure: Two tasks"),
        ('axes.set(title=f"{n} tasks")', "The figure that the code above draws"),
    ],
)
def test_a_still_figure_has_its_title_as_alternative_text(source: str, alt: str, tmp_path: Path) -> None:
    made = shown(tmp_path, {"image/png": f"{PIXEL}\n", "text/plain": "<Figure>"}, source)
    assert f'<img src="data:image/png;base64,{PIXEL}" alt="{alt}">' in made


def test_printed_text_is_escaped(tmp_path: Path) -> None:
    stream = nbformat.v4.new_output("stream", text="a < b & c\n")
    made = page(tmp_path, nbformat.v4.new_code_cell("print()", outputs=[stream]))
    assert '<pre class="output">a &lt; b &amp; c\n</pre>' in made


def test_code_is_coloured_for_both_themes(tmp_path: Path) -> None:
    made = page(tmp_path, nbformat.v4.new_code_cell("for x in y: pass  # <b>"))
    assert '<span class="k">for</span>' in made
    assert "# &lt;b&gt;" in made
    colours = {root: re.search(root + r"\.highlight \.k \{ color: (#\w+)", made) for root in ("\n", r"dark\] ", r"\) ")}
    assert all(colours.values())
    assert colours["\n"][1] != colours[r"dark\] "][1] == colours[r"\) "][1]


def test_a_page_has_the_notebooks_title_or_its_name(tmp_path: Path) -> None:
    assert "<title>03 The `x`</title>".replace("`", "") in page(
        tmp_path, nbformat.v4.new_markdown_cell("# 03 The `x`\n\nText")
    )
    assert "<title>03_x</title>" in page(tmp_path, nbformat.v4.new_markdown_cell("no title"))
    assert "<title>03_x</title>" in page(tmp_path)


def test_the_contents_say_what_the_head_says_and_show_the_first_picture(tmp_path: Path) -> None:
    head = nbformat.v4.new_markdown_cell("# 03 X\n\n**Minutes:** 5\n\n- see $x$")
    outputs = [nbformat.v4.new_output("display_data", data={"image/png": name}) for name in ("AAAA", "BBBB")]
    page(tmp_path, head, nbformat.v4.new_code_cell("1", outputs=outputs))
    index = dict(render(tmp_path, ["03_x"]))["index.html"]
    for text in ('<a href="03_x.html">03 X</a>', "<strong>Minutes:</strong> 5", "<li>see <math", "base64,AAAA"):
        assert index.count(text) == 1, text
    assert "BBBB" not in index
    assert "solutions" not in index.lower()


def test_texts_of_a_notebook_are_not_taken_for_the_template(tmp_path: Path) -> None:
    made = page(tmp_path, nbformat.v4.new_markdown_cell("# <i>03</i> {{ title }}\n\n{% if %}"))
    assert "<title>&lt;i&gt;03&lt;/i&gt; {{ title }}</title>" in made
    assert "{% if %}" in made


def test_the_template_is_beside_the_module() -> None:
    assert site_pages.TEMPLATE.is_file()
