"""The computations of the live pages: adaptation to drawings, a game, a training to watch, a loss surface."""
