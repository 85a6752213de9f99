"""What the report shows is escaped, whole, and in the page itself."""

from __future__ import annotations

from matplotlib.figure import Figure

from mamlkit.study.reproduction import shown


def test_a_table_is_escaped_and_nothing_of_it_is_cut() -> None:
    long = "inner rates start at 0.01 " * 8 + "<b>"
    made = shown.table([{"setting": long, "accuracy": "1.00 ± 2.00"}]).text
    assert long.replace("<b>", "&lt;b&gt;") in made
    assert "1.00&nbsp;±&nbsp;2.00" in made


def test_a_notebook_shows_html_and_markdown_as_such() -> None:
    assert shown.View("<p>")._repr_mimebundle_() == {"text/html": "<p>"}
    assert shown.markdown("*a*")._repr_mimebundle_(include=None) == {"text/markdown": "*a*"}
    assert len(repr(shown.View("<p>" * 1000))) < 100  # a picture is not kept a second time, as plain text


def test_a_picture_has_its_caption_and_lies_in_the_page() -> None:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1])
    picture = shown.picture(figure, 'It rises & "falls"')
    assert picture.kind == "text/html"
    assert picture.text.startswith('<figure><img src="data:image/png;base64,iVBOR')
    assert picture.text.count("It rises &amp; &quot;falls&quot;") == 2  # for those who see, and those who do not
    assert shown.picture(None, "caption", "nothing there") == shown.markdown("nothing there")
