"""What stands behind the live pages: a start adapted to drawings, a game, a training to watch, a loss surface."""
