"""The drawing pad in JupyterLab: drawn on by mouse, pen and touch, scrubbed, exported, imported, and never lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from browser import ROOT, choose_theme, drag, listen, run_again, sent, shoot
from playwright.sync_api import Locator, Page, expect

from mamlkit.datasets.drawings import Sheet, read_sheet
from mamlkit.show.widgets import DrawingPad
from mamlkit.show.widgets.explorer import EXPORT
from mamlkit.study import stored
from mamlkit.study.bench.browser import run_all
from mamlkit.study.bench.gestures import stroke
from mamlkit.study.bench.servers import Jupyter

PAGE = ROOT / "notebooks" / "live" / "draw.ipynb"
SHAPES = {  # of 100 x 100
    "1": [[(15, 50), (85, 50)]],
    "2": [[(20, 15), (20, 85), (80, 85)]],
    "3": [[(50, 10), (88, 80), (12, 80), (50, 10)]],
}


@pytest.fixture(scope="module")
def notebook(jupyter: Jupyter, lab_page: Page) -> Page:
    """The page in JupyterLab."""
    jupyter.open(lab_page, PAGE)
    return lab_page


@pytest.fixture
def pad(notebook: Page, request: pytest.FixtureRequest) -> Locator:
    """A new pad, its first example answered; of as many characters as a test may say."""
    run_again(notebook, n_way=getattr(request, "param", 5))
    return ready(notebook)


def ready(page: Page) -> Locator:
    pad = page.locator(".mamlkit-explorer:not([data-mamlkit])")
    expect(pad.locator(".note")).to_contain_text(re.compile("most likely|Draw one example|Now draw"))
    pad.scroll_into_view_if_needed()
    return pad


def note(pad: Locator) -> Locator:
    return pad.locator(".note")


def words(pad: Locator) -> str:
    return str(pad.locator(".answer").get_attribute("aria-label"))


def drawn(pad: Locator) -> list[str]:
    """Return what the small pictures of the classes and of the query show."""
    return list(pad.locator(".slots canvas").evaluate_all("all => all.map((one) => one.toDataURL())"))


def percentages(pad: Locator) -> list[int]:
    """Return what stands beside each class."""
    return [
        int(text.removesuffix(" %")) for text in pad.locator(".answer text").all_text_contents() if text.endswith(" %")
    ]


def choose(pad: Locator, slot: str) -> None:
    pad.locator(".slots").get_by_role("button", name=slot, exact=True).click()


def press(pad: Locator, name: str) -> None:
    pad.get_by_role("button", name=name, exact=True).click()


def draw_three(page: Page, pad: Locator) -> None:
    """Remove and clear until there are three classes, and draw them."""
    for name in ("5", "4"):
        choose(pad, f"class {name}")
        press(pad, "Remove it")
    for name, strokes in SHAPES.items():
        choose(pad, f"class {name}")
        press(pad, "Clear")
        for points in strokes:
            stroke(page, pad, points)
    choose(pad, "query")
    press(pad, "Clear")
    expect(note(pad)).to_contain_text("Now draw the query")


def test_what_is_drawn_is_answered_scrubbed_and_compared(pad: Locator) -> None:
    page = pad.page
    shoot(pad, "live_draw_example")
    draw_three(page, pad)
    before = pad.locator(".answer").screenshot()
    stroke(page, pad, [(25, 20), (25, 80), (75, 82)])
    expect(note(pad)).to_contain_text("after step 5: most likely")
    assert pad.locator(".answer").screenshot() != before
    expect(note(pad)).to_contain_text("most likely 2")  # a hook like that of class 2, and nothing like the others
    seen, shown = {words(pad)}, [percentages(pad)]
    slider = pad.locator("input[type=range]")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
        seen.add(words(pad))
        shown.append(percentages(pad))
    expect(note(pad)).to_contain_text("before any step")
    assert len(seen) == 6
    assert shown[0] != shown[5]
    assert all(97 <= sum(each) <= 103 for each in shown)  # rounded
    drag(page, slider, 0.95)
    expect(note(pad)).to_contain_text("after step 5")
    by_choice = set()
    for name in ("random start", "MAML", "MAML++"):
        for statistics in ("batch", "running"):
            pad.get_by_label(name, exact=True).check()
            pad.get_by_label(statistics, exact=True).check()
            expect(note(pad)).to_contain_text(f"{name}, after step 5")
            page.wait_for_timeout(400)
            by_choice.add(pad.locator(".answer").screenshot())
    assert len(by_choice) == 6
    shoot(pad, "live_draw_light")
    choose_theme(page, "Dark")
    shoot(pad, "live_draw_dark")


@pytest.mark.parametrize("kind", ["pen", "touch"])
def test_pen_and_touch_draw_as_the_mouse_does(pad: Locator, kind: str) -> None:
    page = pad.page
    choose(pad, "query")
    press(pad, "Clear")
    expect(note(pad)).to_contain_text("Now draw the query")
    box, where = pad.locator(".sheet").bounding_box(), pad.bounding_box()
    browser = page.context.new_cdp_session(page)
    types = {"pen": ("mousePressed", "mouseMoved", "mouseReleased"), "touch": ("touchStart", "touchMove", "touchEnd")}
    down, move, up = types[kind]
    for i, type_ in enumerate([down, *[move] * 20, up]):
        place = {"x": box["x"] + 80, "y": box["y"] + 40 + 11 * min(i, 20)}  # downwards, as a finger scrolls
        if kind == "touch":
            browser.send("Input.dispatchTouchEvent", {"type": type_, "touchPoints": [place] if type_ != up else []})
        else:
            pressed = {"pointerType": "pen", "button": "left", "buttons": int(type_ != up), "clickCount": 1}
            browser.send("Input.dispatchMouseEvent", {"type": type_, **place, **pressed})
    expect(note(pad)).to_contain_text("most likely")
    shoot(pad, f"live_draw_{kind}")
    assert pad.bounding_box() == where  # nothing was scrolled
    seen = drawn(pad)
    press(pad, "Clear")
    page.mouse.move(box["x"] + 80, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 260, steps=20)
    page.mouse.up()
    expect(note(pad)).to_contain_text("most likely")
    assert drawn(pad) == seen


@pytest.mark.parametrize("slot", ["query", "class 1"])
@pytest.mark.parametrize("pad", [5, pytest.param(10, marks=pytest.mark.long)], ids=["5-way", "10-way"], indirect=True)
def test_a_stroke_asks_the_kernel_once_and_its_bars_come(pad: Locator, slot: str) -> None:
    choose(pad, slot)
    press(pad, "Clear")
    expect(pad.locator(".answer rect.bar.series-0")).to_have_count(0)
    listen(pad.page)
    stroke(pad.page, pad, [(15, 20), (30, 80), (80, 70)])
    expect(pad.locator(".answer rect.bar.series-0").first).to_be_visible()
    assert sent(pad.page, '"kind":"ask"') == 1


def test_all_that_is_drawn_is_cleared_at_once_and_the_names_stay(pad: Locator) -> None:
    choose(pad, "class 2")
    pad.get_by_label("Name of this class").fill("house")
    press(pad, "Clear all")
    colours = "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
    assert {canvas.evaluate(colours) for canvas in pad.locator("canvas").all()} == {1}
    expect(note(pad)).to_have_text("Draw one example of each character; 1, house, 3, 4, 5 are still empty.")
    expect(pad.get_by_role("button", name="class 1", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(pad.get_by_role("button", name="Clear all", exact=True)).to_be_disabled()


def test_undo_brings_back_whatever_was_changed(pad: Locator) -> None:
    page = pad.page
    page.wait_for_timeout(300)
    choose(pad, "class 1")
    looks = [drawn(pad)]
    for change in ("Clear", "Add a class", "Remove it", "Clear all", "Fill with examples"):
        press(pad, change)
        page.wait_for_timeout(600)
        looks.append(drawn(pad))
        assert looks[-1] != looks[-2]
    for look in looks[-2::-1]:
        press(pad, "Undo")
        assert drawn(pad) == look
    expect(pad.get_by_role("button", name="Undo", exact=True)).to_be_disabled()
    expect(note(pad)).to_contain_text("most likely")


def test_a_sheet_is_exported_imported_and_what_is_no_sheet_is_refused(pad: Locator, tmp_path: Path) -> None:
    page = pad.page
    draw_three(page, pad)
    choose(pad, "class 2")
    pad.get_by_label("Name of this class").fill("hook")
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        press(pad, "Export")
    file = tmp_path / "mine.json"
    download.value.save_as(file)
    assert file.stat().st_size < 4000
    sheet = read_sheet(file.read_text(encoding="utf-8"), "it")
    assert list(sheet.classes) == ["1", "hook", "3"]
    [corner] = sheet.classes["hook"]
    assert np.abs(np.array(corner) - SHAPES["2"][0]).max() <= 3
    press(pad, "Fill with examples")
    expect(pad.locator(".slots button")).to_have_count(6)
    for name, text, told in (
        ("other.json", '{"a": 1}', "other.json is not a sheet of drawings"),
        ("no.json", "hello", "no.json is not JSON"),
        ("big.json", " " * 5000, "big.json has 5000 bytes; a sheet of drawings has at most 4000"),
    ):
        (tmp_path / name).write_text(text)
        pad.locator("input[type=file]").set_input_files(tmp_path / name)
        expect(note(pad)).to_contain_text(told)
        expect(pad.locator(".slots button")).to_have_count(6)  # nothing was lost
    pad.locator("input[type=file]").set_input_files(file)
    expect(pad.locator(".slots button")).to_have_count(4)
    expect(pad.locator(".slots")).to_contain_text("hook")


def test_an_empty_drawing_a_dot_and_two_equal_ones_are_sentences_on_the_page(pad: Locator) -> None:
    page = pad.page
    draw_three(page, pad)
    choose(pad, "class 3")
    press(pad, "Clear")
    expect(note(pad)).to_contain_text("3 is still empty")
    stroke(page, pad, [(50, 50), (51, 51)])
    expect(note(pad)).to_contain_text("class '3' is a dot")
    press(pad, "Clear")
    stroke(page, pad, [(5, 20), (60, 20)])
    expect(note(pad)).to_contain_text("classes '1' and '3' hold the same drawing")
    shoot(pad, "live_draw_same")


@pytest.mark.long
def test_a_kernel_that_restarts_loses_nothing_that_was_drawn(jupyter: Jupyter, page: Page) -> None:
    jupyter.run(page, PAGE)
    pad = ready(page)
    draw_three(page, pad)
    before = drawn(pad)
    page.evaluate("() => { jupyterapp.commands.execute('notebook:restart-kernel'); }")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_timeout(3000)
    stroke(page, pad, [(25, 20), (25, 80), (75, 82)])
    expect(note(pad)).to_contain_text("The kernel does not answer. What you drew is kept: run this cell")
    shoot(pad, "live_draw_restarted")
    press(pad, "Undo")
    assert drawn(pad) == before
    run_all(page)
    page.wait_for_timeout(2000)
    fresh = ready(page)
    expect(fresh.get_by_text("This is what you drew here before")).to_be_visible()
    assert drawn(fresh) == before
    choose(fresh, "query")
    stroke(page, fresh, [(25, 20), (25, 80), (75, 82)])
    expect(note(fresh)).to_contain_text("most likely")


# A kernel whose answers the test gives, as late as it likes: a real one cannot be told when to answer.
FAKE = """
window.asked = [];
window.answer = (number, classes, reply = {}) => {
  const shares = new Float32Array(6 * classes).fill(0);
  for (let k = 0; k < 6; k += 1) shares[k * classes + (number % classes)] = 1;
  const pictures = new Uint8Array((classes + 1) * 784);
  window.hear({ kind: "ask", said: "", number, ...reply }, [shares, pictures].map((x) => new DataView(x.buffer)));
};
const values = { spec: SPEC, at: [], payload: new DataView(new ArrayBuffer(0)) };
render({ el: document.querySelector("main"), model: {
  get: (name) => values[name], set: () => {}, save_changes: () => {}, off: () => {},
  on: (event, heard) => { if (event === "msg:custom") window.hear = heard; },
  send: (question) => window.asked.push(question),
} });
"""


@pytest.fixture
def alone(offline_page: Page, tmp_path: Path) -> Locator:
    """A pad with three drawn classes and a query, and a kernel that waits for the test."""
    drawings = {name: tuple(map(tuple, strokes)) for name, strokes in SHAPES.items()}
    pad = DrawingPad({"MAML++": stored.start("drawings-mamlpp")}, sheet=Sheet(drawings, drawings["2"]))
    script = pad._esm.replace(EXPORT, "") + FAKE.replace("SPEC", json.dumps(pad.spec))
    (tmp_path / "pad.html").write_text(
        f"<!doctype html><meta charset=utf-8><style>{pad._css}</style><main></main><script>{{{script}}}</script>"
    )
    offline_page.goto((tmp_path / "pad.html").as_uri())
    return offline_page.locator(".mamlkit-explorer")


def asked(pad: Locator) -> list[dict]:
    return list(pad.page.evaluate("window.asked"))


def answer(pad: Locator, number: int, classes: int, **reply: object) -> None:
    pad.page.evaluate("([number, classes, reply]) => window.answer(number, classes, reply)", [number, classes, reply])


def test_an_answer_to_what_was_drawn_before_is_not_shown(alone: Locator) -> None:
    assert [each["number"] for each in asked(alone)] == [1]
    press(alone, "Add a class")
    answer(alone, 1, 3)
    expect(note(alone)).to_contain_text("4 is still empty")
    assert alone.locator(".answer rect.bar.series-0").count() == 0
    press(alone, "Undo")
    assert [each["number"] for each in asked(alone)] == [1, 2]
    answer(alone, 2, 3)
    expect(note(alone)).to_contain_text("most likely 3, with 100 %")
    assert alone.locator(".answer rect.bar.series-0").count() == 18


def test_a_stroke_asks_at_its_end_and_waits_for_no_clock(alone: Locator) -> None:
    page = alone.page
    answer(alone, 1, 3)
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)
    stroke(page, alone, [(20, 30), (70, 35)])
    assert [each["number"] for each in asked(alone)] == [1, 2]


def test_of_many_strokes_the_newest_is_asked_and_an_export_between_is_not_lost(alone: Locator) -> None:
    page = alone.page
    for _ in range(3):
        choose(alone, "query")
        stroke(page, alone, [(20, 30), (70, 35)])
    press(alone, "Export")
    stroke(page, alone, [(20, 60), (70, 65)])
    answer(alone, 1, 3)
    kinds = [each["kind"] for each in asked(alone)]
    assert kinds == ["ask", "export"]
    page.evaluate("window.hear({ kind: 'export', said: 'not now', number: 2 }, [])")
    expect(note(alone)).to_have_text("not now")
    assert len(asked(alone)[2]["sheet"]["query"]) == 1 + 4
    answer(alone, 3, 3)
    expect(note(alone)).to_contain_text("most likely 1")


def test_a_sheet_that_comes_while_the_pen_is_down_waits_for_it(alone: Locator) -> None:
    page = alone.page
    answer(alone, 1, 3)
    box = alone.locator(".sheet").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    alone.get_by_role("button", name="Export", exact=True).dispatch_event("click")
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 90)
    [example] = [each for each in asked(alone) if each["kind"] == "export"]
    empty = {"classes": [{"name": "x", "strokes": []}, {"name": "y", "strokes": []}], "query": []}
    page.evaluate("([number, sheet]) => window.hear({ kind: 'import', number, sheet }, [])", [example["number"], empty])
    assert alone.locator(".slots button").count() == 4
    page.mouse.up()
    assert alone.locator(".slots button").count() == 3
    press(alone, "Undo")
    assert alone.locator(".slots button").count() == 4
    press(alone, "Undo")  # and the stroke


def test_a_name_that_is_typed_belongs_to_its_class_and_a_click_beside_it_counts(alone: Locator) -> None:
    choose(alone, "class 2")
    alone.get_by_label("Name of this class").fill("hook")
    choose(alone, "class 3")
    expect(alone.get_by_label("Name of this class")).to_have_value("3")
    expect(alone.locator(".slots button[aria-pressed=true]")).to_have_text("3")
    assert alone.locator(".slots span").all_inner_texts() == ["1", "hook", "3", "query"]
    alone.get_by_label("Name of this class").fill(" ")
    choose(alone, "query")
    assert alone.locator(".slots span").all_inner_texts() == ["1", "hook", "3", "query"]


def test_what_was_drawn_is_there_again_when_the_page_is_loaded_again(alone: Locator) -> None:
    stroke(alone.page, alone, [(20, 30), (70, 35)])
    before = drawn(alone)
    alone.page.reload()
    expect(alone.get_by_text("This is what you drew here before")).to_be_visible()
    assert drawn(alone) == before
    press(alone, "Undo")
    expect(alone.get_by_text("This is what you drew here before")).to_have_count(0)
    assert drawn(alone) != before


@pytest.mark.parametrize(
    "kept",
    [
        "{}",
        '{"classes": [], "query": []}',
        json.dumps({"classes": [{"name": str(i), "strokes": [[[5, 5], [50, 50]]]} for i in range(15)], "query": []}),
        json.dumps({"classes": [{"name": "a" * 13, "strokes": [[[5, 5], [50, 50]]]}], "query": []}),
        json.dumps({"classes": [{"name": "a", "strokes": [[[5, 5], [1e9, 50]]]}], "query": []}),
    ],
    ids=["other", "none", "many", "long", "far"],
)
def test_what_the_browser_kept_and_no_pad_wrote_is_left_alone(alone: Locator, kept: str) -> None:
    before = drawn(alone)
    stroke(alone.page, alone, [(20, 30), (70, 35)])
    alone.page.evaluate("kept => localStorage.setItem(Object.keys(localStorage)[0], kept)", kept)
    alone.page.reload()
    expect(alone.locator(".slots button")).to_have_count(4)
    assert drawn(alone) == before


def test_a_phone_shows_the_answer_between_sheet_and_buttons_and_a_long_name_beside_the_query(alone: Locator) -> None:
    page = alone.page
    page.set_viewport_size({"width": 360, "height": 740})
    alone.get_by_label("Name of this class").fill("W" * 12)
    choose(alone, "query")
    for number in (1, 2):  # by the first name, and by the new one
        answer(alone, number, 3)
    expect(alone.locator(".answer").get_by_text("100 %")).to_be_visible()
    boxes = [text.bounding_box() for text in alone.locator(".answer text").all()]
    assert max(box["x"] + box["width"] for box in boxes) <= 360
    name = alone.locator(".answer").get_by_text("W" * 12).bounding_box()
    query = alone.locator(".answer image").first.bounding_box()
    assert name["x"] >= query["x"] + query["width"]
    tops = [alone.locator(part).bounding_box()["y"] for part in (".slots", ".sheet", ".answer", ".buttons")]
    assert tops == sorted(tops)
    shoot(alone, "live_draw_phone")


def test_a_silent_kernel_is_told_of_while_the_reader_draws_on(alone: Locator) -> None:
    page = alone.page
    answer(alone, 1, 3)
    page.clock.install()
    for i in range(5):  # a stroke every 6 s: each silence is of what was drawn before
        stroke(page, alone, [(15 + 5 * i, 20), (60, 80 - 5 * i)])
        page.clock.run_for(6_000)
    assert "The kernel does not answer. What you drew is kept: run this cell" in note(alone).inner_text()


@pytest.mark.long
def test_what_the_browser_refuses_to_keep_is_not_called_kept(alone: Locator) -> None:
    page = alone.page
    page.clock.install()
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    stroke(page, alone, [(15, 20), (60, 80)])
    page.clock.run_for(25_000)
    expect(note(alone)).to_contain_text("The kernel does not answer. The browser does not keep what you drew")


def test_a_sheet_of_one_class_is_there_after_a_reload(alone: Locator, tmp_path: Path) -> None:
    answer(alone, 1, 3)
    (tmp_path / "one.json").write_text("{}")  # the test answers in its place
    alone.locator("input[type=file]").set_input_files(tmp_path / "one.json")
    alone.page.wait_for_function("window.asked.length === 2")
    sheet = {"classes": [{"name": "only", "strokes": [[[10, 10], [80, 80]]]}], "query": []}
    answer(alone, 2, 3, kind="import", sheet=sheet)
    expect(alone.locator(".slots button")).to_have_count(2)
    alone.page.reload()
    expect(alone.locator(".slots button")).to_have_count(2)
    expect(alone.locator(".slots")).to_contain_text("only")
