"""Figures that move, for the notebooks; the core of the library never imports them."""

from mamlkit.widgets.arrows import ArrowExplorer
from mamlkit.widgets.drift import DriftExplorer
from mamlkit.widgets.episodes import EpisodeExplorer
from mamlkit.widgets.explorer import Control, Explorer
from mamlkit.widgets.explosion import ExplosionExplorer
from mamlkit.widgets.fit import FitExplorer
from mamlkit.widgets.game import GamePlayer
from mamlkit.widgets.live import Live
from mamlkit.widgets.pad import DrawingPad
from mamlkit.widgets.probabilities import ProbabilityExplorer
from mamlkit.widgets.progress import show_progress
from mamlkit.widgets.rates import RateExplorer
from mamlkit.widgets.switchboard import SwitchboardExplorer
from mamlkit.widgets.theatre import TrainingTheatre
from mamlkit.widgets.travel import TravelExplorer
from mamlkit.widgets.wall import WallExplorer
from mamlkit.widgets.weights import WeightsExplorer

__all__ = [
    "ArrowExplorer",
    "Control",
    "DrawingPad",
    "DriftExplorer",
    "EpisodeExplorer",
    "Explorer",
    "ExplosionExplorer",
    "FitExplorer",
    "GamePlayer",
    "Live",
    "ProbabilityExplorer",
    "RateExplorer",
    "SwitchboardExplorer",
    "TrainingTheatre",
    "TravelExplorer",
    "WallExplorer",
    "WeightsExplorer",
    "show_progress",
]
