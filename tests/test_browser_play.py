"""The game in JupyterLab and in a page without a kernel: played by mouse and keys, kept over a reload, and its card."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from browser import ROOT, choose_theme, shoot
from nbval_figures import figures
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from test_widgets_game import NAMES, deal, make_game

from mamlkit.core.episodes import ImageStore
from mamlkit.show.live.game import Game
from mamlkit.show.widgets import GamePlayer
from mamlkit.show.widgets.explorer import EXPORT
from mamlkit.study.bench.servers import Jupyter

PAGE = ROOT / "notebooks" / "live" / "play.ipynb"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ROUNDS = 4  # of the game in JupyterLab


def committed() -> tuple[str, np.ndarray, np.ndarray]:
    """Return the page's figure, and of its rounds the true labels and the rivals' answers [rounds, rivals]."""
    [(kind, html, arrays)] = figures(nbformat.read(PAGE, as_version=4))
    assert kind == "GamePlayer"
    return html, arrays["truth"], arrays["answers"].reshape(len(arrays["truth"]), -1)


def press(game: Locator, name: str | re.Pattern[str]) -> None:
    game.get_by_role("button", name=name, exact=isinstance(name, str)).click()


def expect_round(game: Locator, number: int, n_rounds: int) -> None:
    expect(game.get_by_role("status")).to_contain_text(f"Round {number} of {n_rounds}. Which picture")
    words = f"Round {number} of {n_rounds}, the query picture."
    assert game.locator("[role=img]").get_attribute("aria-label") == words


def right_so_far(game: Locator) -> dict[str, int]:
    rows = game.locator(".scores tr").all()[1:]
    return {row.locator("th").inner_text(): int(row.locator("td").last.inner_text()) for row in rows}


def expect_verdict(game: Locator, given: list[int], truth: np.ndarray, answers: np.ndarray) -> None:
    """Look at everything that stands there after the last of the answers ``given``."""
    n, own, true = len(given), given[-1], int(truth[len(given) - 1])
    told = f"{LETTERS[own]} is right." if own == true else f"It is {LETTERS[true]}, not {LETTERS[own]}."
    expect(game.get_by_role("status")).to_contain_text(told)
    labels = [own, *answers[n - 1].tolist()]
    for row, label in zip(game.locator(".scores tr").all()[1:], labels, strict=True):
        sign = f"{LETTERS[label]} {'✓' if label == true else '✗'}"
        assert row.locator("td").first.inner_text() == sign
    players = np.column_stack([given, answers[:n]])  # [n, players]
    assert list(right_so_far(game).values()) == (players == truth[:n, None]).sum(0).tolist()
    assert game.locator(".tile.right").inner_text().split()[0] == LETTERS[true]
    assert game.locator(".tile.wrong").count() == (own != true)
    assert f"It is {LETTERS[true]}; the answers: you {LETTERS[own]}, MAML " in (
        game.locator("[role=img]").get_attribute("aria-label") or ""
    )


def expect_end(game: Locator, page: Page, scores: dict[str, int], n_rounds: int, folder: Path) -> None:
    """Look at the final table, its sentences and the card, which is saved and decoded."""
    own, rival = scores["you"], scores["MAML++"]
    outcome = f"You tied with MAML++, {own} each."
    if own != rival:
        outcome = f"You {'won' if own > rival else 'lost'} against MAML++, {own} to {rival}."
    expect(game.get_by_role("status")).to_have_text(outcome)
    rows = game.locator(".scores tr").all()[1:]
    seen = {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in rows}
    assert seen == {name: [str(right), f"{100 * right / n_rounds:.0f} %"] for name, right in scores.items()}
    said = game.locator(".verdicts").inner_text()
    assert re.search(r"Your median time was \d+\.\d s a round\.", said)
    assert f"of {n_rounds} right on average, and had {scores['chance']} here." in said
    share = (own + 1) / (n_rounds + 2)
    error = 100 * (share * (1 - share) / n_rounds) ** 0.5
    told = float(re.search(r"one standard error of a score like yours is about ([\d.]+) percentage", said)[1])
    assert told == pytest.approx(error, rel=0.05)
    with page.expect_download() as download:
        game.get_by_role("link", name="Save the card").click()
    assert download.value.suggested_filename == "you-against-maml.png"
    download.value.save_as(folder / "card.png")
    card = Image.open(folder / "card.png")
    assert card.size == (1200, 630)
    assert np.asarray(card.convert("L")).std() > 20
    image = game.get_by_role("img", name="You against MAML")
    assert image.evaluate("image => [image.complete, image.naturalWidth]") == [True, 1200]
    shown = base64.b64decode((image.get_attribute("src") or "").split(",")[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown))), np.asarray(card))
    assert f"you {own}, MAML {scores['MAML']}" in (image.get_attribute("alt") or "")
    assert bar_lengths(card, len(scores)) == pytest.approx([right / n_rounds for right in scores.values()], abs=0.01)


def bar_lengths(card: Image.Image, n_bars: int) -> list[float]:
    """Measure the bars of the card: how much of each track, 620 pixels from 364 on, is not pale."""
    pixels = np.asarray(card.convert("RGB")).astype(int)
    middles = [int(200 + (i + 0.31) * 330 / n_bars) for i in range(n_bars)]
    return [float((np.ptp(pixels[y, 364:984], axis=-1) > 8).mean()) for y in middles]


@pytest.mark.long
def test_a_game_in_jupyterlab_is_played_kept_over_a_reload_and_followed_by_another(
    jupyter: Jupyter, page: Page, tmp_path: Path
) -> None:
    _, truth, answers = committed()  # a shorter game begins with the same rounds
    wrong = [int(label + 1) % 20 for label in truth]
    jupyter.run(page, PAGE, n_rounds=ROUNDS)
    game = page.locator(".mamlkit-explorer:not([data-mamlkit])")
    expect(game.get_by_role("status")).to_contain_text(f"{ROUNDS} rounds on glyphs, seed 0.")
    game.scroll_into_view_if_needed()
    n_cells = page.locator(".jp-Cell").count()
    press(game, "Start")
    expect_round(game, 1, ROUNDS)
    shoot(game, "live_play_round")
    given = [int(truth[0])]
    game.get_by_role("button", name=f"picture {LETTERS[truth[0]]}", exact=True).click()  # won by a click
    expect_verdict(game, given, truth, answers)
    page.keyboard.press("Enter")  # the next round has the focus
    expect_round(game, 2, ROUNDS)
    given.append(wrong[1])
    page.keyboard.press(LETTERS[wrong[1]].lower())  # lost by a key
    expect_verdict(game, given, truth, answers)
    choose_theme(page, "Light")
    shoot(game, "live_play_light")
    choose_theme(page, "Dark")
    shoot(game, "live_play_dark")
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(1000)
    page.reload()  # in the middle of the game
    press(game, "Go on with round 3")
    expect_round(game, 3, ROUNDS)
    for letter in "dd":  # two of them would delete a cell; here one is an answer and the other is nothing
        page.keyboard.press(letter)
    given.append(LETTERS.index("D"))
    expect_verdict(game, given, truth, answers)
    press(game, "Next round")
    given.append(int(truth[3]))
    page.keyboard.press(LETTERS[truth[3]])
    expect_verdict(game, given, truth, answers)
    scores = right_so_far(game)
    press(game, "See the result")
    expect_end(game, page, scores, ROUNDS, tmp_path)
    shoot(game, "live_play_end_dark")
    choose_theme(page, "Light")
    shoot(game, "live_play_end_light")
    press(game, "Another game")
    page.wait_for_function("document.querySelector('.mamlkit-explorer progress')?.value > 0")
    expect(game.locator("progress")).to_be_visible()
    expect(game.get_by_role("status")).to_contain_text(f"{ROUNDS} rounds on glyphs, seed 1.")
    page.keyboard.press("Enter")  # on Start, as the reader came by a button
    expect_round(game, 1, ROUNDS)
    seen = []
    for _ in range(ROUNDS):
        page.keyboard.press("B")
        seen.append(game.locator(".tile.right").inner_text().split()[0])
        scores = right_so_far(game)
        page.keyboard.press("Enter")
    expect_end(game, page, scores, ROUNDS, tmp_path)
    assert scores["you"] == seen.count("B")
    assert seen != [LETTERS[label] for label in truth[:ROUNDS]]
    assert page.locator(".jp-Cell").count() == n_cells  # no key reached the notebook
    page.evaluate("() => { jupyterapp.commands.execute('notebook:restart-kernel'); }")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    press(game, "Another game")
    expect(game.get_by_role("status")).to_contain_text("The kernel does not answer", timeout=20_000)
    kept = [row.locator("td").first.inner_text() for row in game.locator(".scores tr").all()[1:]]
    assert kept == [str(right) for right in scores.values()]


# A kernel that deals when the test says so: a real one deals at its own pace, and these rounds it could not refuse.
FAKE = """
const values = { spec: SPEC, at: [], payload: Uint8Array.from(atob(PAYLOAD), (c) => c.charCodeAt(0)), dealt: 0 };
const heard = {};
window.asked = [];
window.tell = (name, value) => { values[name] = value; heard[`change:${name}`]?.(); };
render({ el: document.querySelector("main"), model: {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; },
  save_changes: () => { window.asked.push(values.wanted); },
  on: (event, told) => { heard[event] = told; },
  off: (event) => { delete heard[event]; },
} });
"""


def test_a_kernel_that_is_slow_or_refuses_another_game_is_waited_for_and_heard(
    offline_page: Page, tmp_path: Path
) -> None:
    player = GamePlayer(make_game(n_rounds=1), deal)
    fake = FAKE.replace("SPEC", json.dumps(player.spec)).replace(
        "PAYLOAD", repr(base64.b64encode(player.payload).decode())
    )
    script = player._esm.replace(EXPORT, "") + fake
    (tmp_path / "play.html").write_text(
        f"<!doctype html><meta charset=utf-8><main></main><script>{{{script}}}</script>"
    )
    offline_page.goto((tmp_path / "play.html").as_uri())
    game = offline_page.locator(".mamlkit-explorer")
    status, bar = game.get_by_role("status"), game.locator("progress")
    for name in ("Start", re.compile("picture A"), "See the result"):
        press(game, name)
    offline_page.clock.install()
    press(game, "Another game")
    press(game, "Another game")  # while the first is on its way
    assert offline_page.evaluate("window.asked") == [1]
    offline_page.clock.run_for(9_000)
    offline_page.evaluate("window.tell('dealt', 1)")
    offline_page.clock.run_for(9_000)  # since the last sign of life
    expect(bar).to_be_visible()
    expect(status).to_contain_text("The kernel deals 1 other rounds")
    offline_page.clock.run_for(1_500)
    expect(bar).to_be_hidden()
    expect(status).to_contain_text("The kernel does not answer")
    press(game, "Another game")
    expect(bar).to_be_visible()
    offline_page.evaluate("window.tell('refused', 'seed = 1 is not at hand')")
    expect(bar).to_be_hidden()
    expect(status).to_have_text("seed = 1 is not at hand.")
    offline_page.clock.run_for(11_000)
    expect(status).to_have_text("seed = 1 is not at hand.")


def test_the_committed_game_is_won_without_a_kernel_or_a_network(offline_page: Page, tmp_path: Path) -> None:
    html, truth, answers = committed()
    file = tmp_path / "static.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    offline_page.goto(file.as_uri())
    game = offline_page.locator(".mamlkit-explorer")
    press(game, "Start")
    for number, label in enumerate(truth.tolist(), 1):
        expect_round(game, number, len(truth))
        offline_page.keyboard.press(LETTERS[label])
        expect_verdict(game, truth[:number].tolist(), truth, answers)
        offline_page.keyboard.press("Enter")
    expect_end(game, offline_page, {"you": len(truth), **scores_of(truth, answers)}, len(truth), tmp_path)
    assert game.get_by_role("button", name="Another game").count() == 0
    shoot(game, "live_play_static_end")
    offline_page.reload()
    press(game, "See the result")
    press(game, "Play again")
    expect_round(game, 1, len(truth))
    assert set(right_so_far(game).values()) == {0}


def scores_of(truth: np.ndarray, answers: np.ndarray) -> dict[str, int]:
    return dict(zip(NAMES, (answers == truth[:, None]).sum(0).tolist(), strict=True))


def small_game(page: Page, folder: Path, game: Game) -> Locator:
    file = folder / "small.html"
    html = GamePlayer(game, deal).html()
    file.write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    page.goto(file.as_uri())
    return page.locator(".mamlkit-explorer")


def test_the_pictures_are_those_of_the_game(offline_page: Page, tmp_path: Path) -> None:
    made = make_game()
    game = small_game(offline_page, tmp_path, made)
    press(game, "Start")
    read = "all => all.map(one => [...one.getContext('2d').getImageData(0, 0, 28, 28).data])"
    shown = np.array(game.locator("canvas").evaluate_all(read)).reshape(-1, 28, 28, 4)
    first = made.rounds[0]
    expected = np.concatenate([first.query[None], first.support]) > 127
    for channel in range(3):
        assert np.array_equal(shown[..., channel], 255 * expected)


@pytest.mark.parametrize(("own", "outcome"), [(2, "won against MAML++, 2 to 1"), (1, "tied with"), (0, "lost against")])
def test_the_end_says_who_won(offline_page: Page, tmp_path: Path, own: int, outcome: str) -> None:
    made = make_game()
    rights = {"MAML": 3, "MAML++": 1, "nearest neighbour": 2, "chance": 0}
    rounds = tuple(
        played._replace(answers={name: (played.truth + (number >= right)) % 4 for name, right in rights.items()})
        for number, played in enumerate(made.rounds)
    )
    game = small_game(offline_page, tmp_path, made._replace(rounds=rounds))
    press(game, "Start")
    for number, played in enumerate(rounds):
        offline_page.keyboard.press(LETTERS[(played.truth + (number >= own)) % 4])
        offline_page.keyboard.press("Enter")
    expect_end(game, offline_page, {"you": own, **rights}, 3, tmp_path)
    assert outcome in game.get_by_role("status").inner_text()


@pytest.mark.long
def test_a_game_on_omniglot_is_won_and_lost(offline_page: Page, tmp_path: Path, omniglot_105: ImageStore) -> None:
    assert len(omniglot_105.class_names) == 1623
    parameters = {"dataset": "omniglot", "n_rounds": 2}
    papermill.execute_notebook(PAGE, tmp_path / "play.ipynb", parameters, kernel_name="python3", progress_bar=False)
    [(_, html, arrays)] = figures(nbformat.read(tmp_path / "play.ipynb", as_version=4))
    (tmp_path / "play.html").write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    offline_page.goto((tmp_path / "play.html").as_uri())
    game = offline_page.locator(".mamlkit-explorer")
    expect(game.get_by_role("status")).to_contain_text("2 rounds on omniglot, seed 0.")
    press(game, "Start")
    truth, answers = arrays["truth"], arrays["answers"].reshape(2, -1)
    given = [int(truth[0]), int(truth[1] + 1) % 20]
    for number in (1, 2):
        press(game, f"picture {LETTERS[given[number - 1]]}")
        expect_verdict(game, given[:number], truth, answers)
        shoot(game, f"live_play_omniglot_{number}")
        press(game, "Next round" if number == 1 else "See the result")
    expect(game.get_by_role("img", name="2 rounds of 20-way one-shot on omniglot: you 1, MAML ")).to_be_visible()


def test_the_time_of_a_round_is_from_its_pictures_to_the_answer(offline_page: Page, tmp_path: Path) -> None:
    game = small_game(offline_page, tmp_path, make_game())
    offline_page.clock.install(time=0)
    offline_page.clock.pause_at(1)  # from here on it goes on where this test says so alone
    press(game, "Start")
    for time, median in ((1500, "1.5"), (500, "1.0"), (2500, "1.5")):
        offline_page.clock.run_for(time)
        offline_page.keyboard.press("a")
        expect(game.locator(".running")).to_contain_text(f"Your time: {time / 1000:.1f} s, median {median} s.")
        offline_page.clock.run_for(7_000)  # looking at the verdict costs nothing
        offline_page.keyboard.press("Enter")
    expect(game.locator(".verdicts")).to_contain_text("Your median time was 1.5 s a round.")
    slow = game.get_by_role("img", name="Median time 1.5 s.")
    card = slow.get_attribute("src")
    press(game, "Play again")
    for _ in range(3):  # the same answers, given at once
        offline_page.keyboard.press("a")
        offline_page.keyboard.press("Enter")
    assert slow.count() == 0
    assert game.get_by_role("img", name="Median time 0.0 s.").get_attribute("src") != card


def test_keys_that_are_no_picture_and_keys_of_the_browser_are_no_answer(offline_page: Page, tmp_path: Path) -> None:
    game = small_game(offline_page, tmp_path, make_game())
    offline_page.keyboard.press("a")  # before the start
    press(game, "Start")
    for key in ("e", "1", "Shift", "Control+b", "Alt+b"):
        offline_page.keyboard.press(key)
        expect_round(game, 1, 3)
    offline_page.keyboard.press("b")
    expect(game.locator(".scores")).to_contain_text("B ")
    for key in ("a", "c"):  # after the answer
        offline_page.keyboard.press(key)
    assert "right of 1" in game.locator(".scores").inner_text()


@pytest.mark.parametrize(
    "kept", ["{", "7", "[[9, 1]]", '[[0, "x"]]', "[[0, 1], [1, 1], [0, 1], [1, 1]]", '"abc"', "[3]"]
)
def test_what_is_kept_and_makes_no_sense_is_forgotten(offline_page: Page, tmp_path: Path, kept: str) -> None:
    game = small_game(offline_page, tmp_path, make_game())
    press(game, "Start")
    offline_page.keyboard.press("a")
    offline_page.evaluate("kept => { for (const key of Object.keys(localStorage)) localStorage[key] = kept; }", kept)
    offline_page.reload()
    press(game, "Start")
    expect_round(game, 1, 3)


def test_another_seeds_game_in_the_same_page_has_answers_of_its_own(offline_page: Page, tmp_path: Path) -> None:
    game = small_game(offline_page, tmp_path, make_game())
    press(game, "Start")
    offline_page.keyboard.press("a")
    small_game(offline_page, tmp_path, make_game(1))
    expect(game.get_by_role("button", name="Start", exact=True)).to_be_visible()
    small_game(offline_page, tmp_path, make_game())
    press(game, "Start anew")
    expect_round(game, 1, 3)


def test_where_the_browser_keeps_nothing_the_game_is_played_all_the_same(offline_page: Page, tmp_path: Path) -> None:
    refuse = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('refused'); } });"
    offline_page.add_init_script(refuse)
    game = small_game(offline_page, tmp_path, make_game())
    press(game, "Start")
    for _ in range(3):
        offline_page.keyboard.press("a")
        offline_page.keyboard.press("Enter")
    expect(game.locator("img.card")).to_be_visible()


def test_a_phone_shows_the_pictures_below_the_query_and_takes_a_tap(offline_page: Page, tmp_path: Path) -> None:
    offline_page.set_viewport_size({"width": 360, "height": 740})
    game = small_game(offline_page, tmp_path, make_game(n_way=20))
    press(game, "Start")
    query, tiles, scores = (game.locator(name).bounding_box() for name in (".query", ".tiles", ".running"))
    assert query["y"] < tiles["y"] < scores["y"]
    assert tiles["x"] + tiles["width"] <= 360
    game.locator(".tile").nth(7).dispatch_event("click", {"pointerType": "touch"})
    expect(game.locator(".scores")).to_contain_text("H ")
    shoot(game, "live_play_phone")
