"""A sheet of drawings: up to ten named characters with one drawing each, and a query; at most 4 kB of JSON."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mamlkit.core.errors import InputError
from mamlkit.core.system.imports import check_installed, load_by_name
from mamlkit.datasets.drawings.strokes import MOST_POINTS, Drawing, simplified

FORMAT = "mamlkit-drawings-1"
MOST_BYTES = 4000
MOST_CLASSES, LONGEST_NAME = 10, 12
SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("sheet.schema.json").read_text("utf-8"))


class Sheet(NamedTuple):
    """The drawings of one reader.

    Attributes:
        classes: name -> drawing, in order; up to ten names of 1 to 12 characters.
        query: a drawing of one of them, or empty.
    """

    classes: Mapping[str, Drawing] = {}
    query: Drawing = ()

    def to_json(self) -> str:
        """Return the sheet as JSON of at most ``MOST_BYTES`` bytes; drawings are simplified if necessary.

        Raises:
            InputError: there are too many classes, a name is too long, or a drawing has too many strokes.
        """
        classes = [{"name": name, "strokes": _encode(drawing)} for name, drawing in self.classes.items()]
        values = {"format": FORMAT, "classes": classes, "query": _encode(self.query)}
        _check(values, "this sheet")
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def read_sheet(text: str, label: str) -> Sheet:
    """Parse a sheet from JSON text.

    Args:
        text: may come from anywhere; it is validated against ``sheet.schema.json`` before it is used.
        label: the name of the text in error messages, such as a file name.

    Raises:
        InputError: the text is too long, not JSON, or not a sheet of drawings.
    """
    size = len(text.encode())
    if size > MOST_BYTES:
        raise InputError(f"{label} has {size} bytes; a sheet of drawings has at most {MOST_BYTES}")
    try:
        values = json.loads(text)
        _check(values, label)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label} is not JSON; it must be a sheet that a drawing pad exported") from error
    classes = {each["name"]: _decode(each["strokes"]) for each in values["classes"]}
    if len(classes) < len(values["classes"]):
        names = ", ".join(repr(each["name"]) for each in values["classes"])
        raise InputError(f"{label} names a class twice: {names}; each needs a name of its own")
    return Sheet(classes, _decode(values.get("query", [])))


@functools.cache
def _validator() -> tuple[Any, Any]:
    """Return jsonschema's ``best_match``, which picks one error, and the function that yields the errors of a sheet."""
    check_installed("a sheet of drawings", ("jsonschema",), extra="lab")
    validator = load_by_name("jsonschema:Draft202012Validator")(SCHEMA)
    return load_by_name("jsonschema.exceptions:best_match"), validator.iter_errors


def _check(values: Any, label: str) -> None:
    best_match, errors = _validator()
    error = best_match(errors(values))
    if error is not None:
        message = error.message if len(error.message) < 90 else f"{error.message[:87]}..."
        place = "".join(f"[{part!r}]" for part in error.absolute_path)
        raise InputError(f"{label} is not a sheet of drawings: {place}{': ' * bool(place)}{message}")
    drawings = {repr(each["name"]): each["strokes"] for each in values["classes"]}
    for name, strokes in {**drawings, "the query": values.get("query", [])}.items():
        points = sum(map(len, strokes)) // 4
        if points > MOST_POINTS:
            raise InputError(f"{label} has {points} points in {name}; up to {MOST_POINTS} are allowed")


def _encode(drawing: Drawing) -> list[str]:
    return ["".join(f"{x:02}{y:02}" for x, y in stroke) for stroke in simplified(drawing)]


def _decode(strokes: Sequence[str]) -> Drawing:
    return tuple(
        tuple((int(text[i : i + 2]), int(text[i + 2 : i + 4])) for i in range(0, len(text), 4)) for text in strokes
    )
