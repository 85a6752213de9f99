"""The base of the figures that move: every number is shipped once, and the slider lives in the browser.

An explorer shows itself as a self-contained piece of HTML, so it moves with a kernel, in a saved notebook that was
reopened and nothing run, and in a static page. Where scripts are not allowed its picture is shown. It is an anywidget
too: inside an ipywidgets box it works as any widget does, and ``at`` follows the controls.

To add one: a subclass with ``_esm`` and ``paint``, and a small JavaScript file with a ``view`` that draws; see the
first lines of ``explorer.js``, and ``drawing.js`` for what it draws with. A figure that is more than controls and a
picture has a ``mount`` of its own instead; see ``page.js``.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.core.errors import InputError

EXPORT = "export default { render };"
HERE = Path(__file__).parent
NOTE = "Run this cell, or trust the notebook, and the figure moves."


def read_script(*names: str) -> str:
    """Return shared JavaScript, files beside this module of which one defines ``mount``, and the export; no build step.

    What every figure shares, ``drawing.js`` and ``page.js``, comes before them.
    """
    parts = [(HERE / part).read_text(encoding="utf-8") for part in ("drawing.js", "page.js", *names)]
    return "\n".join([*parts, EXPORT])


def read_style(*names: str) -> str:
    """Return ``explorer.css``, which every figure has, and further style sheets beside this module."""
    return "".join((HERE / part).read_text(encoding="utf-8") for part in ("explorer.css", *names))


class Control(NamedTuple):
    """What the reader moves.

    Attributes:
        label: names it.
        values: its places as text.
        start: where it begins.
        kind: ``"slider"``, or ``"choice"``: a row of buttons of which one is chosen.
    """

    label: str
    values: Sequence[str]
    start: int = 0
    kind: str = "slider"


class Explorer(anywidget.AnyWidget):
    """Show one figure for every place of one or more controls.

    Args:
        arrays: what the browser draws from; uint8 stays, all else becomes float32.
        title: stands above the figure.
        controls: what the reader moves; the figure is drawn from their places.
        spec: further values for the JavaScript; anything that JSON can hold.

    Raises:
        InputError: a control does not begin at one of its places.

    Writes: ``at``, the place of each control, follows them where the explorer stands in an ipywidgets box.
    """

    _esm = ""  # a subclass sets it to read_script("explorer.js", "<its file>.js")
    _css = read_style()
    spec = traitlets.Dict().tag(sync=True)
    payload = traitlets.Bytes().tag(sync=True)
    at = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        *,
        title: str,
        controls: Sequence[Control],
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        for control in controls:
            if not 0 <= control.start < len(control.values):
                last = len(control.values) - 1
                raise InputError(f"{control.label} = {control.start} is not one of its places; 0 to {last} are allowed")
        self.arrays = {name: _as_shipped(array) for name, array in arrays.items()}
        layout, payload = _pack(self.arrays)
        shown = [{**control._asdict(), "values": list(control.values)} for control in controls]
        shared = {"title": title, "controls": shown, "arrays": layout, **(spec or {})}
        super().__init__(spec=shared, payload=payload, at=[control.start for control in controls])

    def open(self) -> None:
        """Wait with telling the browser: the HTML ships every number already, and only a widget box needs a model."""

    @property
    def model_id(self) -> str | None:
        """What a widget box asks for. Writes: now the browser is told of the model."""
        super().open()
        model: str | None = super().model_id
        return model

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the figure with matplotlib, with the controls at these places, for where no scripts run."""
        raise NotImplementedError

    @property
    def places(self) -> str:
        """Where the controls stand, in words."""
        return ", ".join(f"{c['label']} {c['values'][place]}" for c, place in zip(self.spec["controls"], self.at))

    def png(self) -> bytes:
        """Return the picture with the controls where they are.

        Pure: no window, no pyplot state.
        """
        figure = Figure(figsize=(7, 3.4), dpi=80, layout="constrained", facecolor="white")
        self.paint(figure, *self.at)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        return stream.getvalue()

    def still(self, note: str, png: bytes) -> str:
        """Return what ``png`` drew, with its alternative text and a note below, as HTML."""
        absent = sum(int((~np.isfinite(array)).sum()) for array in self.arrays.values())
        missing = f" {absent} of its values are not finite." if absent else ""
        alt = html.escape(f"{self.spec['title']}: {self.places}.{missing}")
        picture = base64.b64encode(png).decode()
        return f'<img alt="{alt}" src="data:image/png;base64,{picture}"><p>{note}{missing}</p>'

    def html(self) -> str:
        """Return the whole explorer as one piece of HTML that needs no kernel and no network."""
        return self._html(self.png())

    def _html(self, png: bytes) -> str:
        kind = type(self).__name__
        spec = html.escape(json.dumps({**self.spec, "at": self.at}, allow_nan=False))
        script = self._esm.replace(EXPORT, f"mountAll({kind!r});")
        return (
            f"<style>{self._css}</style>"
            f'<div data-mamlkit="{kind}" data-spec="{spec}" data-payload="{base64.b64encode(self.payload).decode()}">'
            f"{self.still(NOTE, png)}</div>"
            f"<script>(() => {{\n{script}\n}})();</script>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        # No widget view here: reopened without its kernel it would say "model not found" in place of the figure.
        png = self.png()
        return {"text/plain": repr(self), "text/html": self._html(png), "image/png": png}, {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.places})"


class KernelFigure(Explorer):
    """A figure in which the kernel has a part; where there is none, what an explorer shows."""

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        view = anywidget.AnyWidget._repr_mimebundle_(self, **kwargs) or ({}, {})
        still, metadata = super()._repr_mimebundle_(**kwargs)
        return {**view[0], **still}, metadata


def decades(values: NDArray[Any], least: float = 0.0, most: float = np.inf) -> list[int]:
    """Return the powers of ten that enclose all finite values above zero, clipped to ``least`` and ``most``."""
    positive = values[np.isfinite(values) & (values > 0)].clip(least, most)
    low = int(np.floor(np.log10(positive.min(initial=1.0))))
    return [low, max(low + 1, int(np.ceil(np.log10(positive.max(initial=1.0)))))]


def _as_shipped(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=np.uint8 if array.dtype == np.uint8 else "<f4")


def _pack(arrays: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Any], bytes]:
    layout: dict[str, Any] = {}
    payload = b""
    for name, array in arrays.items():
        kind = "u1" if array.dtype == np.uint8 else "f4"
        layout[name] = {"kind": kind, "shape": list(array.shape), "offset": len(payload)}
        payload += array.tobytes()
    return layout, payload
