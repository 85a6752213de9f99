"""Characters as people draw them: strokes, the sheet of up to ten of them, and the pictures a network gets.

Whatever is drawn goes one way: ``Drawing`` -> ``simplified`` -> ``rasterise`` -> 28 x 28 pixels. Training, the drawing
pad and the class wall share it, so that a start has seen what a reader draws.
"""

from mamlkit.datasets.drawings.sheet import Sheet, read_sheet
from mamlkit.datasets.drawings.strokes import Drawing, check_drawn, rasterise, same, simplified

__all__ = ["Drawing", "Sheet", "check_drawn", "rasterise", "read_sheet", "same", "simplified"]
