"""DrawingPad: what is drawn reaches the kernel, the answer goes back, and what is wrong is a sentence on the page."""

from __future__ import annotations

import html
import io
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from mamlkit import Config, InputError, MetaLearner
from mamlkit.datasets.drawings import Sheet, rasterise
from mamlkit.datasets.drawings.sheet import MOST_BYTES
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.widgets import DrawingPad

CONFIG = Config(n_way=4, filters=3, n_steps=2, dtype="float64", device="cpu")
LINE, HOOK, RING = (
    (((10, 50), (90, 50)),),
    (((20, 10), (20, 80), (70, 80)),),
    (((50, 10), (85, 50), (50, 90), (15, 50), (50, 10)),),
)
SHEET = Sheet({"line": LINE, "hook": HOOK, "ring": RING}, (((30, 20), (30, 70), (65, 75)),))


def start(seed: int, **changes: Any) -> MetaLearner:
    return MetaLearner.from_config(Config.from_dict({**CONFIG.to_dict(), "seed": seed, **changes}), (1, 28, 28))


STARTS = {"one": start(0), "other": start(1)}


def drawn(sheet: Sheet) -> dict[str, Any]:
    """Return a sheet as the browser sends it."""
    classes = [
        {"name": name, "strokes": [list(map(list, s)) for s in strokes]} for name, strokes in sheet.classes.items()
    ]
    return {"classes": classes, "query": [list(map(list, stroke)) for stroke in sheet.query]}


class Asked:
    """A pad whose messages to the browser are caught."""

    def __init__(self, **settings: Any) -> None:
        self.pad = DrawingPad(STARTS, **settings)
        self.heard: list[tuple[dict[str, Any], list[bytes]]] = []
        self.pad.send = lambda content, buffers=None: self.heard.append((content, buffers))

    def ask(self, kind: str = "ask", drawing: Sheet = SHEET, **given: Any) -> tuple[dict[str, Any], list[bytes]]:
        question = {"kind": kind, "number": 7, "sheet": drawn(drawing), "start": "one", "norm": "batch", **given}
        self.pad._handle_custom_msg(question, [])
        return self.heard[-1]


def test_the_answer_is_that_of_the_classifier_on_the_pictures_of_the_drawings() -> None:
    asked = Asked()
    for name in STARTS:
        reply, [shares, pictures] = asked.ask(start=name)
        images = np.stack([rasterise(drawing) for drawing in (LINE, HOOK, RING, SHEET.query)])
        assert reply == {"said": "", "kind": "ask", "number": 7}
        assert np.array_equal(np.frombuffer(pictures, np.uint8).reshape(4, 28, 28), images)
        pixels = torch.from_numpy(images / 255)[:, None]
        expected = Classifier(STARTS[name], pixels[:3].float()).probabilities(pixels[3:].float())[0]
        assert np.allclose(np.frombuffer(shares, "<f4").reshape(3, 3), expected, atol=1e-6)
        assert np.array_equal(asked.pad.shares, np.frombuffer(shares, "<f4").reshape(3, 3))


def test_the_recorded_statistics_give_another_answer() -> None:
    asked = Asked()
    assert asked.ask(norm="batch")[1][0] != asked.ask(norm="running")[1][0]


def test_a_new_query_does_not_adapt_again_and_a_new_class_does(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("mamlkit.show.widgets.pad.Classifier", lambda *given: made.append(given) or Classifier(*given))
    asked = Asked()
    first = asked.ask()[1][0]
    assert asked.ask(drawing=SHEET._replace(query=RING))[1][0] != first
    assert len(made) == 1
    asked.ask(drawing=Sheet({**SHEET.classes, "ring": LINE[:1] + HOOK}, SHEET.query))
    assert len(made) == 2
    asked.ask(start="other")
    assert len(made) == 3


def test_without_a_query_the_pictures_come_and_no_bars() -> None:
    reply, [shares, pictures] = Asked().ask(drawing=SHEET._replace(query=()))
    assert reply["said"] == ""
    assert shares == b""
    assert len(pictures) == 3 * 28 * 28


@pytest.mark.parametrize(
    ("sheet", "told"),
    [
        (Sheet({"a": LINE}, LINE), "there is 1 class; draw one example of two or more characters"),
        (Sheet({"a": LINE, "b": ()}), "class 'b' is empty; draw a character, large and in the middle"),
        (Sheet({"a": LINE, "b": (((5, 5),),)}), "class 'b' is a dot, 0 of 100 wide and high; draw it 10 or more"),
        (Sheet({"a": LINE, "b": HOOK}, (((5, 5),),)), "the query is a dot, 0 of 100 wide and high; draw it 10 or more"),
        (
            Sheet({"a": LINE, "b": HOOK, "c": (((5, 20), (60, 20)),)}),
            "classes 'a' and 'c' hold the same drawing; change one of them",
        ),
    ],
)
def test_what_is_wrong_with_a_drawing_is_a_sentence(sheet: Sheet, told: str) -> None:
    asked = Asked()
    asked.ask()
    for kind in ("ask", "export"):
        reply, buffers = asked.ask(kind, sheet)
        assert reply == {"said": told, "kind": kind, "number": 7}
        assert buffers == []
    assert asked.pad.shares is None
    assert asked.ask()[0]["said"] == ""  # and the pad goes on


def test_two_classes_of_one_name_are_a_sentence() -> None:
    twice = {"classes": 2 * drawn(SHEET)["classes"][:1], "query": []}
    assert Asked().ask(sheet=twice)[0]["said"].startswith("two classes are called 'line'")


def test_more_classes_than_the_start_serves_are_a_sentence() -> None:
    five = Sheet({str(i): (((10, 10 + 15 * i), (90, 10), (30, 90 - 9 * i)),) for i in range(5)})
    assert Asked().ask(drawing=five)[0]["said"] == "there are 5 classes; this start serves 2 to 4"


def test_what_is_exported_can_be_imported() -> None:
    asked = Asked()
    reply, _ = asked.ask("export")
    assert len(reply["text"].encode()) < MOST_BYTES
    back, _ = asked.ask("import", text=reply["text"], name="mine.json")
    assert json.loads(json.dumps(back["sheet"])) == drawn(SHEET)


def test_a_file_from_elsewhere_is_a_sentence_with_its_name() -> None:
    assert Asked().ask("import", text="{}", name="x.json")[0]["said"].startswith("x.json is not a sheet of drawings: ")


def test_examples_come_one_after_another_and_begin_again() -> None:
    other = Sheet({"a": RING, "b": HOOK})
    asked = Asked(examples=[SHEET, other])
    seen = [asked.ask("example")[0]["sheet"] for _ in range(3)]
    assert [each["classes"][0]["name"] for each in seen] == ["line", "a", "line"]
    assert asked.pad.spec["examples"] is True
    assert Asked().pad.spec["examples"] is False


def test_it_begins_with_empty_classes_or_with_the_given_sheet() -> None:
    empty = Asked().pad
    assert [each["strokes"] for each in empty.spec["sheet"]["classes"]] == [(), (), ()]
    assert repr(empty) == "DrawingPad(0 classes, no query)"
    given = Asked(sheet=SHEET, fixed=True).pad
    assert json.loads(json.dumps(given.spec["sheet"])) == drawn(SHEET)
    assert given.spec["fixed"] is True
    assert repr(given) == "DrawingPad(3 classes, a query)"


@pytest.mark.parametrize(
    ("starts", "told"),
    [
        ({}, r"starts = none with inner steps \[\]; 1 to 4 of equal steps are allowed"),
        ({str(i): STARTS["one"] for i in range(5)}, r"starts = 0, 1, 2, 3, 4 with inner steps \[2\]"),
        ({"a": STARTS["one"], "b": start(0, n_steps=3)}, r"starts = a, b with inner steps \[2, 3\]"),
    ],
)
def test_no_start_and_starts_of_other_steps_are_refused(starts: dict[str, MetaLearner], told: str) -> None:
    with pytest.raises(InputError, match=told):
        DrawingPad(starts)


def test_the_mime_bundle_has_a_picture_and_a_pad_that_needs_no_kernel() -> None:
    bundle, _ = DrawingPad(STARTS, sheet=SHEET)._repr_mimebundle_()
    assert {"text/plain", "text/html", "image/png", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    page = bundle["text/html"]
    spec = json.loads(html.unescape(re.search(r'data-spec="([^"]*)"', page)[1]))
    assert spec["sheet"] == drawn(SHEET)
    assert not set(re.findall(r"https?://[^\s\"']+", page)) - {"http://www.w3.org/2000/svg"}


def test_the_picture_shows_the_drawings_and_the_answer() -> None:
    def picture(sheet: Sheet) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(DrawingPad(STARTS, sheet=sheet).png())).convert("L"))

    empty, classes, whole = picture(Sheet()), picture(SHEET._replace(query=())), picture(SHEET)
    assert min(classes.std(), whole.std()) > 10
    assert (empty != classes).any()
    assert classes.shape != whole.shape or (classes != whole).any()


def test_the_picture_is_of_the_start_that_the_pad_begins_with() -> None:
    figure, pad = Figure(), DrawingPad(STARTS, sheet=SHEET)
    pad.paint(figure)
    assert figure.get_suptitle() == "other, after each inner step"
    bars = [[bar.get_height() for bar in axes.patches] for axes in figure.axes if axes.patches]
    assert np.allclose(np.transpose(bars), 100 * pad.answer(SHEET, "other")[0])
