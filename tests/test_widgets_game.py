"""GamePlayer: it ships one bit for each pixel and who answers what, and the kernel deals the next seed's game."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from test_widgets import shipped

from mamlkit.core.errors import InputError
from mamlkit.show.live.game import CHANCE, NEAREST, Game, Round
from mamlkit.show.widgets import GamePlayer

NAMES = ("MAML", "MAML++", NEAREST, CHANCE)


def make_game(seed: int = 0, *, n_rounds: int = 3, n_way: int = 4, side: int = 28) -> Game:
    rng = np.random.default_rng(seed)
    rounds = tuple(
        Round(
            rng.integers(0, 256, (n_way, side, side), np.uint8),
            rng.integers(0, 256, (side, side), np.uint8),
            int(rng.integers(n_way)),
            {name: int(rng.integers(n_way)) for name in NAMES},
        )
        for _ in range(n_rounds)
    )
    return Game("some", seed, NAMES[:2], rounds)


def deal(seed: int, on_round: Callable[[int], object]) -> Game:
    for done in (1, 2, 3):
        on_round(done)
    return make_game(seed)


def pixels(player: GamePlayer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(player.png())).convert("L"))


@pytest.mark.parametrize("side", [28, 5])
def test_the_pictures_are_shipped_as_bits_the_query_first(side: int) -> None:
    game = make_game(side=side)
    player = GamePlayer(game, deal)
    bits = np.unpackbits(shipped(player, "bits"), axis=-1, count=side * side).reshape(3, 5, side, side)
    for shown, played in zip(bits, game.rounds):
        assert np.array_equal(shown[0], played.query > 127)
        assert np.array_equal(shown[1:], played.support > 127)


def test_the_answers_are_shipped_in_the_order_of_the_rivals() -> None:
    game = make_game()
    player = GamePlayer(game, deal)
    assert shipped(player, "truth").tolist() == [played.truth for played in game.rounds]
    assert player.spec["rivals"] == list(NAMES)
    assert player.spec["toBeat"] == "MAML++"
    for row, played in zip(shipped(player, "answers"), game.rounds):
        assert dict(zip(NAMES, row.tolist())) == played.answers


def test_a_game_of_twenty_rounds_stays_small() -> None:
    player = GamePlayer(make_game(n_rounds=20, n_way=20), deal)
    assert len(player.payload) < 42_000


def test_another_game_comes_from_the_kernel_with_its_progress() -> None:
    player = GamePlayer(make_game(), deal, title="A title")
    told: list[int] = []
    player.observe(lambda change: told.append(change["new"]), "dealt")
    payload, identity = player.payload, player.spec["identity"]
    player.wanted = 7
    assert told == [1, 2, 3]
    assert player.game.seed == 7
    fresh = GamePlayer(make_game(7), deal, title="A title")
    assert (player.spec, player.payload) == (fresh.spec, fresh.payload)
    assert player.payload != payload
    assert player.spec["identity"] != identity
    assert repr(player) == "GamePlayer(3 rounds of 4-way one-shot on some, seed 7)"
    assert np.array_equal(pixels(player), pixels(fresh))


def test_a_game_that_cannot_be_dealt_is_refused_in_a_sentence_and_may_be_asked_for_again() -> None:
    def refuse(seed: int, on_round: Callable[[int], object]) -> Game:
        raise InputError(f"seed = {seed} is not at hand")

    player = GamePlayer(make_game(), refuse)
    payload = player.payload
    for _ in range(2):
        player.refused = ""  # as the page does before it asks
        player.wanted = 1
        assert player.refused == "seed = 1 is not at hand"
        assert (player.wanted, player.game.seed, player.payload) == (0, 0, payload)


def test_a_game_whose_dealing_is_interrupted_may_be_asked_for_again() -> None:
    def interrupt(seed: int, on_round: Callable[[int], object]) -> Game:
        raise KeyboardInterrupt

    player = GamePlayer(make_game(), interrupt)
    for _ in range(2):
        player.refused = ""
        with pytest.raises(KeyboardInterrupt):
            player.wanted = 1
        assert (player.wanted, player.refused) == (0, "The kernel was interrupted")


def test_games_that_differ_are_kept_apart_in_the_browser() -> None:
    games = [make_game(), make_game(1), make_game(n_rounds=2), make_game(n_way=3), make_game()._replace(data="other")]
    first, *others = games[0].rounds
    games.append(games[0]._replace(rounds=(first._replace(query=255 - first.query), *others)))
    assert len({GamePlayer(game, deal).spec["identity"] for game in games}) == 6


def test_the_mime_bundle_has_a_picture_and_a_game_that_needs_no_kernel() -> None:
    player = GamePlayer(make_game(), deal)
    bundle, _ = player._repr_mimebundle_()
    assert {"text/plain", "text/html", "image/png", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    assert bundle["text/plain"] == "GamePlayer(3 rounds of 4-way one-shot on some, seed 0)"
    page = bundle["text/html"]
    assert json.loads(html.unescape(re.search(r'data-spec="([^"]*)"', page)[1]))["nRounds"] == 3
    assert base64.b64decode(re.search(r'data-payload="([^"]*)"', page)[1]) == player.payload
    assert "You against MAML: 3 rounds of 4-way one-shot on some, seed 0." in html.unescape(page)
    assert not set(re.findall(r"https?://[^\s\"']+", page)) - {"http://www.w3.org/2000/svg"}


def test_the_still_shows_the_first_round() -> None:
    game = make_game()
    shown = pixels(GamePlayer(game, deal))
    assert shown.std() > 10
    changed = game.rounds[0]._replace(support=255 - game.rounds[0].support)
    for rounds in ((changed, *game.rounds[1:]), game.rounds[1:]):
        assert (pixels(GamePlayer(game._replace(rounds=rounds), deal)) != shown).any()
    assert np.array_equal(pixels(GamePlayer(game._replace(rounds=game.rounds[:2]), deal)), shown)


def test_more_pictures_than_letters_are_refused() -> None:
    GamePlayer(make_game(n_way=26), deal)
    with pytest.raises(InputError, match="n_way = 27 is out of range; 2 to 26 have a letter each"):
        GamePlayer(make_game(n_way=27), deal)


def test_its_script_mounts_the_game_and_keeps_its_keys() -> None:
    script = GamePlayer._esm
    assert script.count("function mount(") == 1
    assert script.rstrip().endswith("export default { render };")
    assert '"data-lm-suppress-shortcuts": "true"' in script
    assert 'role: "img"' in script
