"""Wait for what another thread or process does, however busy the machine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PAUSE = 0.02  # seconds between two looks
LOOKS = 30_000  # ten minutes and more: not a bound on time, but an end for a test that hangs


def wait_until(true: Callable[[], object], look: Callable[[], None] = lambda: None) -> None:
    """Return when ``true()`` is; ``look`` is called between two looks, and may raise."""
    for _ in range(LOOKS):
        if true():
            return
        look()
        time.sleep(PAUSE)
    raise TimeoutError("it did not come true")


async def until(true: Callable[[], object]) -> None:
    """Return when ``true()`` is, while the event loop goes on."""
    for _ in range(LOOKS):
        if true():
            return
        await asyncio.sleep(PAUSE)
    raise TimeoutError("it did not come true")
