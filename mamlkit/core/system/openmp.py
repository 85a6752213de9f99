"""The time that torch's OpenMP threads wait for each other before they sleep.

By default they spin for milliseconds. Beside other programs, a thread is often descheduled while the others spin, and
an iteration takes ten times as long. This module must not import torch, which reads the settings once, when it loads.
"""

from __future__ import annotations

import os

# A fraction of a millisecond for the runtime of GCC (Linux), a millisecond for the runtimes of LLVM and Intel (macOS,
# Windows): long enough on a quiet machine, where the threads begin the next operation at once.
BRIEF = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"}
POLICY = "OMP_WAIT_POLICY"


def wait_briefly() -> None:
    """Make the OpenMP threads of this process and of its child processes wait briefly; call it before torch loads.

    The user's own setting has priority.

    Writes: the environment of this process.
    """
    if not any(name in os.environ for name in (POLICY, *BRIEF)):
        os.environ.update(BRIEF)
