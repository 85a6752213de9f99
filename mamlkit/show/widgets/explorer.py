"""The base class of the interactive figures: all numbers are embedded, and the controls run in the browser.

An explorer displays itself as a self-contained piece of HTML. So it works with a kernel, in a saved notebook that was
only reopened, and in a static page. If scripts are not allowed, a still picture is shown. An explorer is also an
anywidget: inside an ipywidgets box it behaves like any widget, and ``at`` follows the controls.

To add an explorer, write a subclass with ``_esm`` and ``paint``, and a small JavaScript file with a ``view`` that draws
the figure; see the first lines of ``explorer.js``, and ``drawing.js`` for the drawing functions. A figure that needs
more than controls and a picture defines its own ``mount``; see ``page.js``.
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
    """Return JavaScript without a build step: the given files beside this module, one of which defines ``mount``.

    The shared files ``drawing.js`` and ``page.js`` come before them, the export comes last.
    """
    parts = [(HERE / part).read_text(encoding="utf-8") for part in ("drawing.js", "page.js", *names)]
    return "\n".join([*parts, EXPORT])


def read_style(*names: str) -> str:
    """Return ``explorer.css``, which all figures use, followed by further style sheets beside this module."""
    return "".join((HERE / part).read_text(encoding="utf-8") for part in ("explorer.css", *names))


class Control(NamedTuple):
    """A control of a figure.

    Attributes:
        label: name of the control.
        values: its positions as text.
        start: index of the initial position.
        kind: ``"slider"``, or ``"choice"`` for a row of radio buttons.
    """

    label: str
    values: Sequence[str]
    start: int = 0
    kind: str = "slider"


class Explorer(anywidget.AnyWidget):
    """Show one figure for every position of one or more controls.

    Args:
        arrays: the data for the browser; uint8 arrays stay uint8, all others become float32.
        title: the title above the figure.
        controls: the controls; the figure depends on their positions.
        spec: further values for the JavaScript, JSON-serialisable.

    Raises:
        InputError: the initial position of a control is out of range.

    Writes: ``at``, the position of each control, when the explorer is inside an ipywidgets box.
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

    _ipython_display_ = None  # ipywidgets 7 has this method, and IPython would prefer it to _repr_mimebundle_

    def open(self) -> None:
        """Open the comm lazily: the HTML already holds all data."""

    @property
    def model_id(self) -> str | None:
        """Open the comm, and return the representation that a widget box asks for."""
        super().open()
        model: str | None = super().model_id
        return model

    def paint(self, figure: Figure, *at: int) -> None:
        """Draw the figure with matplotlib for these positions of the controls, as the picture shown without scripts."""
        raise NotImplementedError

    @property
    def places(self) -> str:
        """The positions of the controls as text."""
        return ", ".join(f"{c['label']} {c['values'][place]}" for c, place in zip(self.spec["controls"], self.at))

    def png(self) -> bytes:
        """Return the picture for the present positions of the controls."""
        figure = Figure(figsize=(7, 3.4), dpi=80, layout="constrained", facecolor="white")
        self.paint(figure, *self.at)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        return stream.getvalue()

    def still(self, note: str, png: bytes) -> str:
        """Return the picture ``png`` as HTML, with its alternative text and a note below."""
        absent = sum(int((~np.isfinite(array)).sum()) for array in self.arrays.values())
        missing = f" {absent} of its values are not finite." if absent else ""
        alt = html.escape(f"{self.spec['title']}: {self.places}.{missing}")
        picture = base64.b64encode(png).decode()
        return f'<img alt="{alt}" src="data:image/png;base64,{picture}"><p>{note}{missing}</p>'

    def html(self) -> str:
        """Return the whole explorer as HTML that needs no kernel and no network."""
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
        # No widget view here: reopened without its kernel, it would show "model not found" instead of the figure.
        png = self.png()
        return {"text/plain": repr(self), "text/html": self._html(png), "image/png": png}, {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.places})"


class KernelFigure(Explorer):
    """A figure that needs the kernel; without a kernel it behaves like an explorer."""

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        view, metadata = widget_view(self)
        still, _ = super()._repr_mimebundle_(**kwargs)
        return {**view, **still}, metadata


def widget_view(widget: anywidget.AnyWidget) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the output that shows a widget, and its metadata: Colab finds its manager of foreign widgets there."""
    view: tuple[dict[str, Any], dict[str, Any]] = anywidget.AnyWidget._repr_mimebundle_(widget) or ({}, {})
    return view


def decades(values: NDArray[Any], least: float = 0.0, most: float = np.inf) -> list[int]:
    """Return the powers of ten that enclose all finite positive values, clipped to ``least`` and ``most``."""
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
