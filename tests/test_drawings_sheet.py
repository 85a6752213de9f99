"""A sheet goes to JSON of less than 4 kB and back, and anything else is refused in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mamlkit import InputError
from mamlkit.datasets.drawings import Sheet, read_sheet
from mamlkit.datasets.drawings.sheet import FORMAT, MOST_BYTES
from mamlkit.datasets.drawings.strokes import MOST_POINTS, MOST_STROKES

SHEET = Sheet({"a": (((10, 10), (60, 9), (30, 80)), ((5, 45),)), "ж": (((0, 0), (99, 99)),)}, (((1, 2), (3, 94)),))


def text(**changes: object) -> str:
    values = {"format": FORMAT, "classes": [{"name": "a", "strokes": ["10106009"]}], "query": []}
    return json.dumps({**values, **changes})


def test_a_sheet_comes_back_as_it_was() -> None:
    assert read_sheet(SHEET.to_json(), "it") == SHEET
    assert list(read_sheet(SHEET.to_json(), "it").classes) == ["a", "ж"]
    assert read_sheet(text(), "it") == Sheet({"a": (((10, 10), (60, 9)),)}, ())


def test_the_largest_sheet_is_under_four_kilobytes() -> None:
    rng = np.random.default_rng(0)
    points = np.cumsum(rng.integers(-30, 30, (MOST_POINTS, 2)), 0) % 100
    wild = [tuple((int(x), int(y)) for x, y in part) for part in np.array_split(points, MOST_STROKES)]
    names = [f"{'界' * 11}{i}" for i in range(10)]
    sheet = Sheet({name: tuple(wild) for name in names}, tuple(wild))
    written = sheet.to_json()
    assert sum(len(stroke) for stroke in json.loads(written)["classes"][0]["strokes"]) > 4 * 50
    assert 3000 < len(written.encode()) <= MOST_BYTES < 4096


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "x.json is not JSON; it must be a sheet that a drawing pad exported"),
        ("[" * 3000, "x.json is not JSON; it must be a sheet that a drawing pad exported"),
        ("{}", "' is a required property"),
        ("[1]", "x.json is not a sheet of drawings: [1] is not of type 'object'"),
        (text(format="other"), "x.json is not a sheet of drawings: ['format']: 'mamlkit-drawings-1' was expected"),
        (
            text(extra=1),
            "x.json is not a sheet of drawings: Additional properties are not allowed ('extra' was unexpected)",
        ),
        (text(classes=[]), "x.json is not a sheet of drawings: ['classes']: [] should be non-empty"),
        (text(query=["123"]), "x.json is not a sheet of drawings: ['query'][0]: '123' does not match"),
        (text(query=["10106009\n"]), "x.json is not a sheet of drawings: ['query'][0]: '10106009\\n' does not match"),
        (text(classes=[{"name": "", "strokes": []}]), "x.json is not a sheet of drawings: ['classes'][0]['name']: ''"),
        (text(classes=[{"name": "a" * 13, "strokes": []}]), "['classes'][0]['name']: 'aaaaaaaaaaaaa' is too long"),
        (text(classes=[{"name": "a\nb", "strokes": []}]), "['classes'][0]['name']: 'a\\nb' does not match"),
        (text(classes=[{"name": "ab\n", "strokes": []}]), "['classes'][0]['name']: 'ab\\n' does not match"),
        (text(classes=[{"name": "\ud800", "strokes": []}]), "['classes'][0]['name']: '\\ud800' does not match"),
        (
            text(classes=[{"name": str(i), "strokes": []} for i in range(11)]),
            "x.json is not a sheet of drawings: ['classes']",
        ),
        (
            text(classes=[{"name": "a", "strokes": []}] * 2),
            "x.json names a class twice: 'a', 'a'; each needs a name of its own",
        ),
        (text(classes=[{"name": "a", "strokes": ["1010" * 40, "2020" * 40]}]), "x.json has 80 points in 'a'; up to 56"),
        (text(query=["1010" * 40, "2020" * 40]), "x.json has 80 points in the query; up to 56 are allowed"),
        (" " * 4001, "x.json has 4001 bytes; a sheet of drawings has at most 4000"),
    ],
)
def test_what_is_no_sheet_is_refused_in_one_sentence(given: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        read_sheet(given, "x.json")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_a_sheet_that_cannot_be_kept_is_not_written() -> None:
    with pytest.raises(InputError, match=r"^this sheet is not a sheet of drawings: .*'name'"):
        Sheet({"a name much too long": SHEET.query}).to_json()
    with pytest.raises(InputError, match="17 strokes"):
        Sheet({"a": tuple(((i, 5), (i, 20)) for i in range(17))}).to_json()


@pytest.mark.parametrize("depth", range(900, 1000, 3))
def test_json_that_is_nested_as_deep_as_python_goes_is_refused(depth: int) -> None:
    for nested in (
        "[" * depth + "]" * depth,
        text(classes=[{"name": 0, "strokes": []}]).replace("0", "[" * depth + "]" * depth),
    ):
        with pytest.raises(InputError, match=r"^x\.json (is not a sheet of drawings|is not JSON)"):
            read_sheet(nested, "x.json")
