"""Tiny trainings that several test files share."""

from __future__ import annotations

from mamlkit.config import Config

# As most golden cases are: code that is compiled for one of these tests serves the others.
AS_GOLDEN = Config(
    n_way=3,
    k_shot=2,
    q_query=2,
    filters=4,
    n_steps=2,
    n_tasks=2,
    epochs=2,
    iterations_per_epoch=2,
    device="cpu",
)
