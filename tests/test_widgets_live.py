"""Live: the callback runs at every move, the figure on show takes over what it made, and a picture stays behind."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import anywidget
import ipywidgets
import numpy as np
import pytest
from anywidget import _util as anywidget_util
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from mamlkit.show.widgets import FitExplorer, Live
from mamlkit.show.widgets.explorer import KernelFigure

X = np.linspace(-5, 5, 21)


def make(steps: int, shown: int | None = None) -> FitExplorer:
    places = np.arange(steps + 1)
    fits = {"MAML": np.outer(places, np.sin(X))}
    shown = steps if shown is None else shown
    return FitExplorer(X, np.sin(X), fits, losses={"MAML": 0.5**places}, support=(X[::5], np.sin(X[::5])), step=shown)


def make_live(value: int = 4) -> tuple[Live, list[int]]:
    asked: list[int] = []

    def callback(steps: int) -> FitExplorer:
        asked.append(steps)
        return make(steps)

    slider = ipywidgets.IntSlider(description="inner steps", min=0, max=9, value=value)
    return Live(slider, callback), asked


def test_python_runs_once_at_the_start_and_once_at_each_move() -> None:
    live, asked = make_live()
    live.control.value = 7
    live.control.value = 7
    live.control.value = 2
    assert asked == [4, 7, 2]


def test_the_figure_on_show_takes_over_numbers_words_and_arrays() -> None:
    live, _ = make_live()
    shown = live.figure
    live.control.value = 7
    wanted = make(7)
    assert live.figure is shown
    assert live.children == (live.control, shown)
    assert shown.payload == wanted.payload
    assert shown.spec == wanted.spec
    assert np.array_equal(shown.arrays["fits"], wanted.arrays["fits"])


def test_with_other_places_the_figures_own_controls_go_where_the_new_one_begins() -> None:
    live, _ = make_live()
    assert list(live.figure.at) == [4]
    for value in (7, 2, 0, 9):
        live.control.value = value
        assert list(live.figure.at) == [value]


def test_at_no_moment_does_a_control_of_the_figure_point_past_its_places() -> None:
    live, _ = make_live()
    moments: list[tuple[int, int]] = []

    def note(_: object) -> None:
        moments.append((live.figure.at[0], len(live.figure.spec["controls"][0]["values"])))

    live.figure.observe(note, ["at", "payload"])
    for value in (7, 2, 9, 0):
        live.control.value = value
    assert len(moments) >= 8
    assert all(place < places for place, places in moments)


def test_with_the_same_places_the_figures_own_controls_stay_where_the_reader_left_them() -> None:
    slider = ipywidgets.FloatSlider(description="rate", value=1.0, max=9.0)
    live = Live(slider, lambda rate: make(4 if rate < 5 else 5, shown=1))
    live.figure.at = [3]
    slider.value = 2.0
    assert list(live.figure.at) == [3]
    slider.value = 6.0
    assert list(live.figure.at) == [1]


def test_without_a_kernel_its_picture_is_shown_with_what_to_do() -> None:
    live, _ = make_live()
    bundle, _ = live._repr_mimebundle_()
    assert bundle["text/plain"] == repr(live) == "Live(inner steps 4, FitExplorer(inner step 4 of 4))"
    assert "run this cell" in bundle["text/html"]
    assert "<img alt=" in bundle["text/html"]
    assert np.asarray(Image.open(io.BytesIO(bundle["image/png"])).convert("L")).std() > 10
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in for Colab's own module, by which anywidget knows where it is."""
    output = SimpleNamespace(
        enable_custom_widget_manager=lambda: None, _widgets=SimpleNamespace(_installed_url="https://manager.example")
    )
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    yield
    anywidget_util.enable_custom_widget_manager_once.cache_clear()


class Plain(anywidget.AnyWidget):
    _esm = "export default {}"


class Kernel(KernelFigure, FitExplorer):
    """A figure that needs the kernel."""


def test_on_colab_a_figure_names_the_manager_of_foreign_widgets_as_a_plain_anywidget_does(colab: None) -> None:
    wanted = Plain()._repr_mimebundle_()[1]
    assert "https://manager.example" in str(wanted)
    figure = Kernel(X, np.sin(X), {"MAML": [np.sin(X)]}, losses={"MAML": [1.0]}, support=(X[::5], np.sin(X[::5])))
    assert figure._repr_mimebundle_()[1] == wanted
    assert make_live()[0]._repr_mimebundle_()[1] == wanted


def test_elsewhere_a_figure_has_no_such_metadata() -> None:
    assert make_live()[0]._repr_mimebundle_()[1] == {}


def test_the_display_of_ipywidgets_7_does_not_come_before_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ipywidgets.Widget, "_ipython_display_", lambda self: pytest.fail("shown as a bare widget"), False
    )
    live, _ = make_live()
    for figure in (live, live.figure):
        data, _ = DisplayFormatter().format(figure)
        assert {"text/html", "image/png"} <= data.keys()
    assert DisplayFormatter().format(live)[0]["application/vnd.jupyter.widget-view+json"]["model_id"] == live.model_id
