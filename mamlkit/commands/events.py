"""Write TensorBoard event files with torch's own writer; needs an extra."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mamlkit.core.errors import InputError
from mamlkit.training.history import EpochRecord

try:
    from torch.utils import tensorboard
except ImportError:  # the extra is not installed
    tensorboard = None  # type: ignore[assignment]


def check_tensorboard() -> None:
    """Raise an ``InputError`` with the install command if TensorBoard is not installed."""
    if tensorboard is None:
        raise InputError('--tensorboard needs TensorBoard; install it with: pip install "mamlkit[tensorboard]"')


@contextmanager
def event_log(folder: Path | None) -> Iterator[Callable[[EpochRecord], None]]:
    """Yield a function that writes the scalars of an epoch, by iteration; without a folder the function does nothing.

    Raises:
        InputError: TensorBoard is not installed.

    Writes: event files in the folder.
    """
    if folder is None:
        yield lambda record: None
        return
    check_tensorboard()
    writer: Any = tensorboard.SummaryWriter(str(folder))
    try:
        yield lambda record: _write(writer, record)
    finally:
        writer.close()


def _write(writer: Any, record: EpochRecord) -> None:
    for iteration in record.iterations:
        values = dataclasses.asdict(iteration)
        for name in ("loss", "accuracy", "grad_norm", "outer_lr"):
            writer.add_scalar(f"train/{name}", values[name], iteration.iteration)
        for step, norm in enumerate(iteration.inner_grad_norms):
            writer.add_scalar(f"inner_grad_norm/step_{step}", norm, iteration.iteration)
    last = record.iterations[-1].iteration
    writer.add_scalar("validation/accuracy", record.validation.accuracy, last)
    writer.add_scalar("validation/loss", record.validation.loss, last)
    writer.flush()
