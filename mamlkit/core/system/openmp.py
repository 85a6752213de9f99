"""How long the threads of OpenMP, which torch computes with, wait for each other before they sleep.

By default they spin for milliseconds. Beside other programs one of them is often descheduled while the others spin, and
an iteration takes ten times as long. This module must not import torch, which reads the settings once, as it is loaded.
"""

from __future__ import annotations

import os

# A fraction of a millisecond for the runtime of GCC (Linux), one for those of LLVM and Intel (macOS, Windows):
# long enough for the threads of a quiet machine, which begin the next operation at once.
BRIEF = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"}
POLICY = "OMP_WAIT_POLICY"


def wait_briefly() -> None:
    """Let the threads of a process that has not loaded torch yet, and of all that it starts, wait briefly.

    A setting of the user's own wins.

    Writes: the environment of this process.
    """
    if not any(name in os.environ for name in (POLICY, *BRIEF)):
        os.environ.update(BRIEF)
