"""Interactive figures for the notebooks; the core of the library never imports them."""

from mamlkit.show.widgets.arrows import ArrowExplorer
from mamlkit.show.widgets.atlas import AtlasExplorer
from mamlkit.show.widgets.cell import CellTheatre
from mamlkit.show.widgets.drift import DriftExplorer
from mamlkit.show.widgets.episodes import EpisodeExplorer
from mamlkit.show.widgets.explorer import Control, Explorer
from mamlkit.show.widgets.explosion import ExplosionExplorer
from mamlkit.show.widgets.fit import FitExplorer
from mamlkit.show.widgets.game import GamePlayer
from mamlkit.show.widgets.live import Live
from mamlkit.show.widgets.pad import DrawingPad
from mamlkit.show.widgets.probabilities import ProbabilityExplorer
from mamlkit.show.widgets.progress import show_progress
from mamlkit.show.widgets.rates import RateExplorer
from mamlkit.show.widgets.switchboard import SwitchboardExplorer
from mamlkit.show.widgets.theatre import TrainingTheatre
from mamlkit.show.widgets.travel import TravelExplorer
from mamlkit.show.widgets.wall import WallExplorer
from mamlkit.show.widgets.weights import WeightsExplorer

__all__ = [
    "ArrowExplorer",
    "AtlasExplorer",
    "CellTheatre",
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
