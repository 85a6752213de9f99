"""A game of one-shot rounds: the reader against adapted starts, nearest neighbour and chance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from string import ascii_uppercase
from typing import Any

import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.live.game import Game
from mamlkit.show.widgets.explorer import KernelFigure, read_script, read_style

ROW = 5  # pictures side by side
GAP, HEAD = 4, 11  # pixels between the pictures of the still, and above each picture for its letter


class GamePlayer(KernelFigure):
    """Play a game with mouse, touch or keyboard; show the right answers after each pick, and a result card at the end.

    Args:
        game: the first game; it needs no kernel.
        deal: (seed, on_round) -> a game; called in the kernel with the next seed when the reader asks for another game.
        title: the title above the game and on the card.

    Attributes:
        game: the present game.

    Raises:
        InputError: there are more pictures than letters.

    Writes: ``game``, at each new game. The reader's answers stay in the browser and survive a reload.
    """

    _esm = read_script("classes.js", "game.js", "game_card.js")
    _css = read_style("game.css")
    wanted = traitlets.Int().tag(sync=True)  # the seed of the requested game
    dealt = traitlets.Int().tag(sync=True)  # rounds of the next game that are ready
    refused = traitlets.Unicode().tag(sync=True)  # the reason why there is no other game

    def __init__(
        self, game: Game, deal: Callable[[int, Callable[[int], object]], Game], *, title: str = "You against MAML"
    ) -> None:
        if game.n_way > len(ascii_uppercase):
            raise InputError(f"n_way = {game.n_way} is out of range; 2 to {len(ascii_uppercase)} have a letter each")
        self.game, self.deal = game, deal
        arrays = _shipped(game)
        spec = {
            "identity": f"{game.data}, {len(game.rounds)} of {game.n_way}-way, seed {game.seed}, {_digest(arrays)}",
            "data": game.data,
            "seed": game.seed,
            "nWay": game.n_way,
            "nRounds": len(game.rounds),
            "side": len(game.rounds[0].query),
            "rivals": list(game.rivals),
            "toBeat": game.starts[-1],
        }
        super().__init__(arrays, title=title, controls=[], spec=spec)
        self.wanted = game.seed
        self.observe(self._another, "wanted")

    def _another(self, change: dict[str, Any]) -> None:
        if change["new"] == self.game.seed:
            return
        try:
            made = GamePlayer(self.deal(change["new"], self._count), self.deal, title=self.spec["title"])
        except BaseException as error:  # Ctrl-C too; the page can ask again
            with self.hold_sync():
                self.wanted, self.refused = self.game.seed, str(error) or "The kernel was interrupted"
            if isinstance(error, InputError):
                return
            raise
        self.game, self.arrays = made.game, made.arrays
        with self.hold_sync():
            self.spec, self.payload = made.spec, made.payload

    def _count(self, dealt: int) -> None:
        self.dealt = dealt

    @property
    def places(self) -> str:
        """A description of the game in words."""
        game = self.game
        return f"{len(game.rounds)} rounds of {game.n_way}-way one-shot on {game.data}, seed {game.seed}"

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the first round: the query picture and, beside it, the pictures to choose from with their letters."""
        first = self.game.rounds[0]
        side = len(first.query)
        left, right = figure.subplots(1, 2, width_ratios=[1, 2.4])
        left.imshow(first.query, cmap="gray", vmin=0, vmax=255)
        places = [divmod(label, ROW) for label in range(self.game.n_way)]
        size = (places[-1][0] + 1) * (side + HEAD), min(ROW, self.game.n_way) * (side + GAP) - GAP
        sheet = np.full(size, 255, np.uint8)
        for label, (row, column) in enumerate(places):
            top, start = row * (side + HEAD) + HEAD, column * (side + GAP)
            sheet[top : top + side, start : start + side] = first.support[label]
            right.text(start, top - 2, ascii_uppercase[label], fontsize="small")
        right.imshow(sheet, cmap="gray", vmin=0, vmax=255)
        for axes in (left, right):
            axes.axis("off")
        figure.suptitle("Which of the pictures is the same character as the large one?", fontsize="small")


def _digest(arrays: dict[str, NDArray[np.uint8]]) -> str:
    """Return a digest of the pictures and answers of a game."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()[:16]


def _shipped(game: Game) -> dict[str, NDArray[np.uint8]]:
    """Return the pictures of each round, the query first, with one bit for each pixel, and the rivals' answers."""
    pictures = np.stack([np.concatenate([r.query[None], r.support]) for r in game.rounds])  # [rounds, N + 1, H, W]
    return {
        "bits": np.packbits(pictures.reshape(*pictures.shape[:2], -1) > 127, axis=-1),  # [rounds, N + 1, H * W / 8]
        "truth": np.array([r.truth for r in game.rounds], np.uint8),
        "answers": np.array([[r.answers[name] for name in game.rivals] for r in game.rounds], np.uint8),
    }
