"""A fresh process that runs meta-iterations of one engine on request and reports its own peak memory.

    python -m mamlkit.study.bench.worker compiled '{"n_way": 5, ...}'

For each input line it runs one iteration and answers with one line: milliseconds and peak MiB.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple, cast

import psutil
import torch

from mamlkit.core.config import Config
from mamlkit.core.errors import InputError
from mamlkit.study.bench.iteration import Iteration

if sys.platform != "win32":
    import resource


class Sample(NamedTuple):
    """One iteration: its time, and the peak memory of its process so far, including Python and torch."""

    ms: float
    peak_mib: float


@contextlib.contextmanager
def worker(engine: str, config: Config, environment: Mapping[str, str] | None = None) -> Iterator[Callable[[], Sample]]:
    """Start the process, and yield a function that runs one iteration; the process ends with the context.

    Args:
        engine, config: see ``mamlkit.study.bench.iteration.Iteration``; the engine's code must be compiled already.
        environment: environment variables of the process.

    Raises:
        InputError: raised by the function if the process has ended; the message ends with the last line of its output.
    """
    command = [sys.executable, "-m", "mamlkit.study.bench.worker", engine, json.dumps(config.to_dict())]
    given = {**os.environ, **(environment or {}), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=errors, env=given) as process,
    ):

        def run() -> Sample:
            with contextlib.suppress(OSError):  # the process has ended, and there is no answer either
                cast(IO[bytes], process.stdin).write(b"\n")
            answer = cast(IO[bytes], process.stdout).readline()
            if answer:
                return Sample(*json.loads(answer))
            code = process.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise InputError(f"the process of the engine {engine} ended: {said[-1]}")

        try:
            yield run
        finally:
            process.kill()


def peak_mib() -> float:
    """Return the peak resident memory of this process, in MiB.

    On Linux, read the kernel's high-water mark of this program; ``getrusage`` would start from the memory of the parent
    program.
    """
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset) / 2**20
    status = Path("/proc/self/status")
    for line in status.read_text("utf-8").splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def serve(engine: str, config: Config) -> None:
    """Answer each line of standard input; the first iterations load and warm up everything that is slow at first.

    Args:
        engine, config: see ``mamlkit.study.bench.iteration.Iteration``.

    Writes: standard output.
    """
    iterate = Iteration(engine, config)
    for _ in sys.stdin:
        begin = time.perf_counter()
        iterate()
        sample = Sample(1e3 * (time.perf_counter() - begin), peak_mib())
        print(json.dumps(sample), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Config(**json.loads(sys.argv[2])))
