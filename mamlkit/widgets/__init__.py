"""Figures that move, for the notebooks; the core of the library never imports them."""

from mamlkit.widgets.episodes import EpisodeExplorer
from mamlkit.widgets.explorer import Explorer
from mamlkit.widgets.fit import FitExplorer

__all__ = ["EpisodeExplorer", "Explorer", "FitExplorer"]
