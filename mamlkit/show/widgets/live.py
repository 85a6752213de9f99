"""A figure that the kernel computes anew at every change of an ipywidgets control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from mamlkit.show.widgets.explorer import Explorer, widget_view

VIEW = "application/vnd.jupyter.widget-view+json"
NOTE = "This figure is computed while you move it: run this cell, and it lives."


class Live(ipywidgets.VBox):  # type: ignore[misc]
    """Compute a figure whenever a control moves; the latest position wins.

    Args:
        control: any ipywidgets control with a ``value`` and a ``description``.
        make: value -> explorer; called in the kernel at the start and at each change, always for the same kind of
            explorer. The explorer's own controls keep their positions, unless the new explorer has other positions or
            another initial one; then they move to the initial position.

    Attributes:
        figure: the present explorer.

    Writes: ``figure``. Without a kernel a still picture is shown.
    """

    def __init__(self, control: ipywidgets.ValueWidget, make: Callable[[Any], Explorer]) -> None:
        self.control, self.make = control, make
        self.figure = make(control.value)
        super().__init__([control, self.figure])
        control.observe(self._moved, "value")

    def _moved(self, change: dict[str, Any]) -> None:
        made = self.make(change["new"])  # while this runs, the browser holds back all but the latest value
        moves = made.spec["controls"] != self.figure.spec["controls"]
        last = [len(control["values"]) - 1 for control in made.spec["controls"]]
        self.figure.at = [min(place, most) for place, most in zip(self.figure.at, last)]  # a position of both
        self.figure.arrays = made.arrays
        with self.figure.hold_sync():
            self.figure.spec, self.figure.payload = made.spec, made.payload
        if moves:
            self.figure.at = made.at

    _ipython_display_ = None  # see Explorer

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        png = self.figure.png()
        still = {"text/plain": repr(self), "text/html": self.figure.still(NOTE, png), "image/png": png}
        return {VIEW: view, **still}, widget_view(self.figure)[1]

    def __repr__(self) -> str:
        return f"Live({self.control.description} {self.control.value}, {self.figure!r})"
