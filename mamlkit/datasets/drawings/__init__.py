"""Drawn characters: strokes, sheets of up to ten characters, and the pictures that a network gets.

Every drawing takes the same path: ``Drawing`` -> ``simplified`` -> ``rasterise`` -> 28 x 28 pixels. Training, the
drawing pad and the class wall share it, so the pad's pictures look like the training pictures.
"""

from mamlkit.datasets.drawings.sheet import Sheet, read_sheet
from mamlkit.datasets.drawings.strokes import Drawing, check_drawn, rasterise, same, simplified

__all__ = ["Drawing", "Sheet", "check_drawn", "rasterise", "read_sheet", "same", "simplified"]
