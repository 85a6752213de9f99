"""The number of floating-point operations of a meta-iteration, from its configuration."""

from __future__ import annotations

from mamlkit.core.config import Config
from mamlkit.core.deep import last_convs
from mamlkit.core.resnet import widths
from mamlkit.core.schedules import StepConfig

PASSES_FIRST_ORDER = 3  # a forward pass, and a backward pass of twice its size
PASSES_SECOND_ORDER = 9  # and six more through the backward pass


def forward_flop(config: Config, image_shape: tuple[int, ...]) -> float:
    """Return the floating-point operations of one image's forward pass, a multiply-add as two.

    Args:
        config: its ``backbone``, ``depth``, ``filters``, ``max_pool`` and ``n_way`` count.
        image_shape: (C, H, W).

    >>> round(forward_flop(Config(), (1, 28, 28)) / 1e6, 1)
    19.5
    """
    channels, side, _ = image_shape
    if config.backbone == "mlp":
        return 2.0 * config.filters * (channels * side**2 + config.filters + config.n_way)
    total = 0.0
    if config.backbone == "resnet12":
        for filters in widths(config.filters):  # a 3x3 and a 1x1 convolution of the input, then two 3x3
            total += 2.0 * side**2 * filters * (10 * channels + 18 * filters)
            channels, side = filters, side // 2
        return total + 2.0 * config.n_way * channels
    if config.backbone == "deep":
        for i in range(config.depth):
            total += 2.0 * side**2 * 9 * channels * config.filters
            channels, side = config.filters, side // 2 if i in last_convs(config.depth) else side
        return total + 2.0 * config.n_way * channels * side**2
    for _ in range(4):
        side = side if config.max_pool else -(-side // 2)
        total += 2.0 * side**2 * 9 * channels * config.filters
        channels, side = config.filters, side // 2 if config.max_pool else side
    return total + 2.0 * config.n_way * config.filters * (side**2 if config.max_pool else 1)


def iteration_flop(config: Config, step: StepConfig, image_shape: tuple[int, ...]) -> float:
    """Return the floating-point operations of one meta-iteration.

    Args:
        config: its episodes, steps and tasks count.
        step: its derivative order and number of query passes count.
        image_shape: (C, H, W).
    """
    passes = PASSES_SECOND_ORDER if step.second_order else PASSES_FIRST_ORDER
    query_passes = sum(weight != 0 or step.track_query for weight in step.loss_weights)
    support = config.k_shot * len(step.loss_weights) * passes
    query = config.q_query * query_passes * PASSES_FIRST_ORDER
    return config.n_tasks * config.n_way * (support + query) * forward_flop(config, image_shape)
