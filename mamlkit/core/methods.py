"""What a task's loss is, by the name of ``Config.method``.

To add a method: write a function with the arguments and results of ``mamlkit.core.inner_loop.inner_loop``, and list it.
"""

from __future__ import annotations

from mamlkit.core.inner_loop import inner_loop
from mamlkit.core.outer_loop import Method

METHODS: dict[str, Method] = {"maml": inner_loop}
