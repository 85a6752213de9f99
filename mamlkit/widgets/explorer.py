"""The base of the figures that move: every number is shipped once, and the slider lives in the browser.

An explorer shows itself as a self-contained piece of HTML, so it moves with a kernel, in a saved notebook that was
reopened and nothing run, and in a static page. Where scripts are not allowed its picture is shown. It is an anywidget
too: inside an ipywidgets box it works as any widget does, and ``step`` follows the slider.

To add one: a subclass with ``_esm``, ``describe`` and ``paint``, and a small JavaScript file that draws.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamlkit.errors import InputError

EXPORT = "export default { render };"
HERE = Path(__file__).parent
NOTE = "Run this cell, or trust the notebook, and the figure moves."


def read_script(name: str) -> str:
    """Return the shared JavaScript, a file beside this module that defines ``view``, and the export; no build step."""
    parts = [(HERE / part).read_text(encoding="utf-8") for part in ("explorer.js", name)]
    return "\n".join([*parts, EXPORT])


class Explorer(anywidget.AnyWidget):
    """Show one figure for each value of a slider.

    Args:
        arrays: what the browser draws from; uint8 stays, all else becomes float32.
        title: stands above the figure.
        label: names the slider.
        values: the slider's values as text, one for each step.
        step: where the slider begins.
        spec: further values for the JavaScript; anything that JSON can hold.

    Raises:
        InputError: ``step`` is not a place of the slider.

    Writes: ``step`` follows the slider where the explorer stands in an ipywidgets box.
    """

    _esm = ""  # a subclass sets it to read_script("<its file>.js")
    _css = (HERE / "explorer.css").read_text(encoding="utf-8")
    spec = traitlets.Dict().tag(sync=True)
    payload = traitlets.Bytes().tag(sync=True)
    step = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        *,
        title: str,
        label: str,
        values: Sequence[str],
        step: int = 0,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 <= step < len(values):
            raise InputError(f"step = {step} is not on the slider; 0 to {len(values) - 1} are allowed")
        self.arrays = {name: _as_shipped(array) for name, array in arrays.items()}
        layout, payload = _pack(self.arrays)
        shared = {"title": title, "label": label, "values": list(values), "arrays": layout, **(spec or {})}
        descriptions = [self.describe(place) for place in range(len(values))]
        super().__init__(spec={**shared, "descriptions": descriptions}, payload=payload, step=step)

    def describe(self, step: int) -> str:
        """Return in words what the figure shows at ``step``; read aloud in place of the picture."""
        raise NotImplementedError

    def paint(self, figure: Figure, step: int) -> None:
        """Draw the figure at ``step`` with matplotlib, for places that run no scripts."""
        raise NotImplementedError

    def png(self) -> bytes:
        """Return the picture at the current ``step``.

        Pure: no window, no pyplot state.
        """
        figure = Figure(figsize=(7, 3.4), dpi=80, layout="constrained", facecolor="white")
        self.paint(figure, self.step)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        return stream.getvalue()

    def html(self) -> str:
        """Return the whole explorer as one piece of HTML that needs no kernel and no network."""
        kind = type(self).__name__
        spec = html.escape(json.dumps({**self.spec, "first": self.step}, allow_nan=False))
        picture = base64.b64encode(self.png()).decode()
        alt = html.escape(self.spec["descriptions"][self.step])
        script = self._esm.replace(EXPORT, f"mountAll({kind!r});")
        return (
            f"<style>{self._css}</style>"
            f'<div data-mamlkit="{kind}" data-spec="{spec}" data-payload="{base64.b64encode(self.payload).decode()}">'
            f'<img alt="{alt}" src="data:image/png;base64,{picture}"><p>{NOTE}</p></div>'
            f"<script>(() => {{\n{script}\n}})();</script>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        # No widget view here: reopened without its kernel it would say "model not found" in place of the figure.
        return {"text/plain": repr(self), "text/html": self.html(), "image/png": self.png()}, {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec['label']} {self.spec['values'][self.step]})"


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
