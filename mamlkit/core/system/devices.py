"""The device of the tensors."""

from __future__ import annotations

import torch

from mamlkit.core.errors import InputError


def pick_device(name: str) -> torch.device:
    """Return the device of ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``; auto is CUDA if it is present, else the CPU.

    Raises:
        InputError: the named device is not on this machine.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device("cuda" if present["cuda"] else "cpu")
    if not present[name]:
        there = ", ".join(kind for kind in present if present[kind])
        raise InputError(f"device = {name!r} is not on this machine; it has {there}")
    return torch.device(name)
