"""A pad to draw a character on, and the kernel's answer to which of a few given ones it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from mamlkit.errors import InputError
from mamlkit.widgets.explorer import Explorer, read_script, read_style
from mamlkit.widgets.fit import COLOURS
from mamlkit.widgets.probabilities import as_bytes, paint_bars, show_picture

NOTE = "This pad answers while a kernel runs: run this cell, then draw."


class DrawingPad(Explorer):
    """Draw one of a few given characters by mouse, pen or touch; after each stroke the kernel says which it is.

    Args:
        support: [N, 1, H, H] one picture of each class, in [0, 1], ink light on dark.
        answer: [1, 1, H, H] in [0, 1] -> the probability of each class, [N]; called in the kernel after each stroke.
        title: stands above the pad.

    Attributes:
        drawing: the H x H bytes of what is drawn, 255 for ink; empty while nothing is.

    Raises:
        InputError: ``support`` has another shape, or the answer is not one number for each class.

    Writes: ``drawing`` follows the pad. Without a kernel it still draws, and says that it needs one.
    """

    _esm = read_script("classes.js", "pad.js")
    _css = read_style("pad.css")
    drawing = traitlets.CBytes().tag(sync=True)  # the browser sends a view of memory
    answer = traitlets.Bytes().tag(sync=True)  # [N] float32, or empty

    def __init__(
        self, support: Tensor, answer: Callable[[Tensor], ArrayLike], *, title: str = "Draw one of these"
    ) -> None:
        if support.ndim != 4 or support.shape[1] != 1 or support.shape[2] != support.shape[3] or len(support) < 2:
            raise InputError(f"support has shape {list(support.shape)}; [N, 1, H, H] with N of 2 or more is allowed")
        self.ask = answer
        self.side = support.shape[2]
        spec = {
            "side": self.side,
            "nWay": len(support),
            "invitation": f"The sheet is empty: draw one of the {len(support)} characters, large and in the middle.",
        }
        super().__init__({"support": as_bytes(support)}, title=title, controls=[], spec=spec)
        self.observe(self._drawn, "drawing")

    def _drawn(self, change: dict[str, Any]) -> None:
        drawn: bytes = change["new"]
        self.answer = self.probabilities(drawn).astype("<f4").tobytes() if drawn else b""

    def probabilities(self, drawn: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the answer [N] to a drawing of H x H bytes."""
        pixels = torch.tensor(list(drawn), dtype=torch.get_default_dtype()).reshape(1, 1, self.side, self.side) / 255
        shares = np.asarray(self.ask(pixels), dtype=np.float64)
        n_way = len(self.arrays["support"])
        if shares.shape != (n_way,):
            raise InputError(f"the answer has shape {shares.shape}; [{n_way}], a number for each class, is needed")
        return shares

    @property
    def places(self) -> str:
        """Whether something is drawn, in words."""
        return "a drawing" if self.drawing else "nothing drawn"

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the sheet beside the given characters, with the last answer above them."""
        left, right = figure.subplots(1, 2, width_ratios=[1, 2.2])
        sheet = np.frombuffer(self.drawing or bytes(self.side**2), np.uint8).reshape(1, self.side, self.side)
        show_picture(left, sheet)
        left.set_title("the sheet" if self.drawing else "the sheet, empty", fontsize="small")
        shares = np.frombuffer(self.answer, "<f4")
        paint_bars(right, shares, self.arrays["support"], truth=None, colour=COLOURS[0])

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        view = anywidget.AnyWidget._repr_mimebundle_(self, **kwargs) or ({}, {})  # here the kernel has a part
        still, metadata = super()._repr_mimebundle_(**kwargs)
        return {**view[0], **still}, metadata
