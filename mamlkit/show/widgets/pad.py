"""A pad to draw characters on, one example of each class and a query, with the predictions of a meta-trained start."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.datasets.drawings import Drawing, Sheet, check_drawn, rasterise, read_sheet, same, simplified
from mamlkit.datasets.drawings.sheet import LONGEST_NAME, MOST_BYTES, MOST_CLASSES
from mamlkit.show.live.classifier import Classifier
from mamlkit.show.widgets.explorer import KernelFigure, read_script, read_style
from mamlkit.show.widgets.fit import COLOURS
from mamlkit.show.widgets.probabilities import show_picture
from mamlkit.training.evaluation import NORMS
from mamlkit.training.learner import MetaLearner

EMPTY = Sheet()
BLANK = Sheet({"1": (), "2": (), "3": ()})  # the initial sheet, if none is given


class DrawingPad(KernelFigure):
    """Draw one example of up to ten characters and a query; show the predictions after every inner step.

    Args:
        starts: name -> a start, 1 to 4; all with the same number of inner steps, and for 28 x 28 pictures.
        sheet: the initial drawings.
        fixed: the reader draws only the query; the classes of ``sheet`` cannot be changed.
        examples: sheets that a button shows one after another.
        title: the title above the pad.

    Attributes:
        sheet: the drawings of the kernel's latest answer.
        shares: [K + 1, N] the probability of each class after 0..K inner steps, or None.

    Raises:
        InputError: there is no start, there are too many, or they differ in their numbers of inner steps.

    Writes: ``sheet`` and ``shares`` follow the pad. Without a kernel the pad still draws, and says that it needs a
        kernel.
    """

    _esm = read_script("classes.js", "sheet.js", "asker.js", "pad.js")
    _css = read_style("pad.css")

    def __init__(
        self,
        starts: Mapping[str, MetaLearner],
        *,
        sheet: Sheet = EMPTY,
        fixed: bool = False,
        examples: Sequence[Sheet] = (),
        title: str = "Drawing pad",
    ) -> None:
        steps = {learner.config.eval_steps or learner.config.n_steps for learner in starts.values()}
        if not 1 <= len(starts) <= 4 or len(steps) > 1:
            told = ", ".join(starts) or "none"
            raise InputError(f"starts = {told} with inner steps {sorted(steps)}; 1 to 4 of equal steps are allowed")
        self.starts, self.sheet, self.examples = dict(starts), sheet, itertools.cycle(examples)
        self.shares: NDArray[np.float32] | None = None
        self._adapted: tuple[Any, Classifier] | None = None
        spec = {
            "starts": list(starts),
            "norms": list(NORMS),
            "steps": steps.pop(),
            "sheet": as_lists(sheet if sheet.classes else BLANK),
            "fixed": fixed,
            "examples": bool(examples),
            "most": min(MOST_CLASSES, *(len(learner.params["head.bias"]) for learner in starts.values())),
            "mostBytes": MOST_BYTES,
            "longestName": LONGEST_NAME,
        }
        super().__init__({}, title=title, controls=[], spec=spec)
        self.on_msg(self._received)

    def _received(self, _: Any, asked: dict[str, Any], buffers: Any) -> None:
        answers = {"ask": self._ask, "import": self._import, "export": self._export, "example": self._example}
        try:
            reply, arrays = answers[asked["kind"]](asked)
        except InputError as error:
            reply, arrays = {"said": str(error)}, []
        self.send({**reply, "kind": asked["kind"], "number": asked["number"]}, arrays)

    def _ask(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        self.shares = None
        sheet = from_lists(asked["sheet"])
        shares, pictures = self.answer(sheet, asked["start"], asked["norm"])
        self.sheet, self.shares = sheet, shares
        return {"said": ""}, [shares.astype("<f4").tobytes(), pictures.tobytes()]

    def answer(self, sheet: Sheet, start: str, norm: str = "batch") -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the class probabilities of the query, and the pictures that the network receives.

        Args:
            sheet: at least two classes, with or without a query.
            start: name of the start.
            norm: batch-norm statistics of the query pass, ``"batch"`` or ``"running"``.

        Returns:
            shares: [K + 1, N] after 0..K inner steps; [0, N] without a query.
            pictures: uint8 [N, 28, 28], or with a query [N + 1, 28, 28].

        Raises:
            InputError: a drawing is empty or a dot, two classes are the same, or there are fewer than two classes.
        """
        pictures = pictures_of(sheet)
        n_way = len(sheet.classes)
        images = torch.from_numpy(pictures.astype(np.float32) / 255)[:, None]  # -> [N + 1, 1, 28, 28]
        key = (start, pictures[:n_way].tobytes())
        if self._adapted is None or self._adapted[0] != key:
            self._adapted = key, Classifier(self.starts[start], images[:n_way])
        shares = self._adapted[1].probabilities(images[n_way:], norm) if len(images) > n_way else torch.empty(0, n_way)
        return shares.reshape(-1, n_way).float().cpu().numpy(), pictures

    def _import(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        return {"sheet": as_lists(read_sheet(asked["text"], asked["name"]))}, []

    def _export(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        sheet = from_lists(asked["sheet"])
        pictures_of(sheet)
        return {"text": sheet.to_json()}, []

    def _example(self, _: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        return {"sheet": as_lists(next(self.examples))}, []

    @property
    def places(self) -> str:
        """A description of the drawings in words."""
        return f"{len(self.sheet.classes)} classes, {'a query' if self.sheet.query else 'no query'}"

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the classes, the query, and the probabilities of the pad's first choice, the last start, per step."""
        drawings = [
            (name, drawing) for name, drawing in [*self.sheet.classes.items(), ("query", self.sheet.query)] if drawing
        ]
        if not drawings:
            figure.text(0.5, 0.5, "a pad to draw on, with a kernel", ha="center")
            return
        try:
            start = list(self.starts)[-1]
            shares = self.answer(self.sheet, start)[0]
            figure.suptitle(f"{start}, after each inner step", fontsize="medium")
        except InputError:  # a drawing is still missing
            shares = np.empty((0, len(drawings)), np.float32)
        rows = figure.subplots(2, len(drawings), squeeze=False, height_ratios=[1, 1.2])
        for column, (name, drawing) in enumerate(drawings):
            show_picture(rows[0, column], rasterise(drawing)[None])
            rows[0, column].set_title(name, fontsize="small")
            if not len(shares) or column == shares.shape[1]:
                rows[1, column].axis("off")
                continue
            rows[1, column].bar(range(len(shares)), 100 * shares[:, column], color=COLOURS[0])
            rows[1, column].set(ylim=(0, 100), xlabel="step", ylabel="%" if not column else "")


def pictures_of(sheet: Sheet) -> NDArray[np.uint8]:
    """Return the pictures [N, 28, 28] of the classes, and with a query [N + 1, 28, 28].

    Raises:
        InputError: see ``DrawingPad.answer``.
    """
    n_way = len(sheet.classes)
    if n_way < 2:
        raise InputError(
            f"there {'is 1 class' if n_way else 'are 0 classes'}; draw one example of two or more characters"
        )
    for name, drawing in sheet.classes.items():
        check_drawn(drawing, f"class {name!r}")
    if sheet.query:
        check_drawn(sheet.query, "the query")
    drawn = {name: rasterise(drawing) for name, drawing in sheet.classes.items()}
    for (one, first), (other, second) in itertools.combinations(drawn.items(), 2):
        if same(first, second):
            raise InputError(f"classes {one!r} and {other!r} hold the same drawing; change one of them")
    return np.stack([*drawn.values(), *([rasterise(sheet.query)] if sheet.query else [])])


def as_lists(sheet: Sheet) -> dict[str, Any]:
    """Convert a sheet to the values of the browser."""
    classes = [{"name": name, "strokes": drawing} for name, drawing in sheet.classes.items()]
    return {"classes": classes, "query": sheet.query}


def from_lists(drawn: dict[str, Any]) -> Sheet:
    """Convert the values of the browser to a sheet, simplified for storage.

    Raises:
        InputError: two classes have the same name, or a drawing has too many strokes.
    """
    classes: dict[str, Drawing] = {}
    for each in drawn["classes"]:
        if each["name"] in classes:
            raise InputError(f"two classes are called {each['name']!r}; each needs a name of its own")
        classes[each["name"]] = simplified(each["strokes"])
    return Sheet(classes, simplified(drawn["query"]))
