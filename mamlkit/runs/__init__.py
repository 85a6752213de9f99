"""A training run on disk: its folder, its checkpoints, its result."""
