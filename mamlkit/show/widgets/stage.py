"""What the figures of a training share: start, pause and start over, and regular news for the browser."""

from __future__ import annotations

import abc
import asyncio
import weakref
from typing import Any, ClassVar, Generic, TypeVar

import traitlets
from numpy.typing import NDArray

from mamlkit.core.errors import InputError
from mamlkit.show.live.stage import Stage
from mamlkit.show.widgets.explorer import KernelFigure

PERIOD = 0.25  # seconds between two updates of the figure
NOTE = "This training goes on in a kernel: run this cell, then press Start."
ENDED = ("finished", "failed")

Training = TypeVar("Training", bound=Stage)


class StageFigure(KernelFigure, Generic[Training]):
    """A figure of one training; a subclass sets ``theatre`` and defines ``anew`` and ``sentence``.

    Only one training runs at a time in a kernel: a new figure halts the previous one, and so does Start.

    Attributes:
        theatre: the present training.

    Writes: ``theatre`` and, up to four times a second, the browser's copy of its data. Without a kernel a still picture
        is shown.
    """

    numbers = traitlets.Dict().tag(sync=True)  # measurements by name: float32 bytes
    stage = traitlets.Unicode().tag(sync=True)  # see Stage.stage
    said = traitlets.Unicode().tag(sync=True)  # the latest event in words
    theatre: Training
    _on_stage: ClassVar[Stage | None] = None  # the training that was shown or started last
    _following: asyncio.Task[None] | None = None

    @abc.abstractmethod
    def anew(self) -> Training:
        """Return a new training for the present positions of the controls.

        Raises:
            InputError: it cannot be made.
        """

    @abc.abstractmethod
    def sentence(self, stage: str) -> str:
        """Return what the reader is told at the beginning of a stage, see ``Stage.stage``."""

    def news(self) -> dict[str, NDArray[Any]]:
        """Return the measurements for the browser, by name."""
        return self.theatre.snapshot()

    def show(self) -> None:
        """Take a snapshot of the training and send it to the browser.

        Writes: ``numbers``, ``arrays`` and, at a change of ``stage``, ``stage`` and ``said``.
        """
        stage, snapshot = self.theatre.stage, self.news()
        self.arrays = {**self.arrays, **snapshot}
        with self.hold_sync():
            self.numbers = {name: values.astype("<f4").tobytes() for name, values in snapshot.items()}
            if stage != self.stage:
                self.stage, self.said = stage, self.sentence(stage)

    def play(self) -> None:
        """Start or continue the training, and update the figure; needs a running event loop, such as a kernel's."""
        self.take_the_stage()
        self.theatre.start()
        self.show()
        if self._following is None or self._following.done():
            self._following = asyncio.get_running_loop().create_task(_follow(weakref.ref(self)))

    def pause(self) -> None:
        """Halt the training."""
        self.theatre.halt()
        self.show()

    def start_over(self) -> None:
        """Train from new weights, as the controls say.

        Raises:
            InputError: the training cannot be made; the previous one then stays.
        """
        self.pause()
        self.theatre = self.anew()
        self.play()

    def close(self) -> None:
        """End the training's thread, then the figure."""
        if self.stage:  # otherwise the constructor failed
            self.theatre.halt()
        super().close()

    def take_the_stage(self) -> None:
        """Halt the training of another figure."""
        before, StageFigure._on_stage = StageFigure._on_stage, self.theatre
        if before is not None and before is not self.theatre:
            before.halt()

    def pressed(self, _: Any, asked: dict[str, Any], buffers: Any) -> None:
        """Do what a button asks for; a refusal is said."""
        buttons = {"play": self.play, "pause": self.pause, "again": self.start_over}
        try:
            buttons[asked["kind"]]()
        except InputError as error:
            self.said = str(error)

    def reason(self) -> str:
        """Return the error that ended the training, in words."""
        error = self.theatre.error
        return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"

    def _html(self, png: bytes) -> str:
        return self.still(NOTE, png)  # without its kernel, nothing here moves


async def _follow(shown: weakref.ref[StageFigure[Any]]) -> None:
    """Update a figure from its training; the figure may be deleted at any time."""
    while (figure := shown()) is not None:
        figure.show()
        if figure.stage != "training":
            return
        del figure
        await asyncio.sleep(PERIOD)
