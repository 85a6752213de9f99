"""Call compiled code without Python's global lock, so that threads run it side by side.

torch's own loader holds the lock while the code runs. The library in an AOTInductor package has a C interface
(torch/csrc/inductor/aoti_runtime/interface.h), and ctypes calls C without the lock. torch converts tensors to handles
and handles to tensors.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Run = Callable[[list[Tensor]], list[Tensor]]


def load(path: Path) -> Run:
    """Return the function of a package; several threads may call it at once.

    Args:
        path: path of the package; its checksum is verified.

    Raises:
        Exception: one of many kinds: the package is damaged, or this torch has other functions.

    Writes: a temporary file, deleted at once; Windows keeps it because the library is in use.
    """
    to_handles, to_tensors = _exchange()
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        [member] = [name for name in archive.namelist() if name.endswith((".so", ".pyd", ".dll"))]
        library = ctypes.CDLL(archive.extract(member, folder))
    container, n_outputs = ctypes.c_void_p(), ctypes.c_size_t()
    at_once = ctypes.c_size_t(os.cpu_count() or 1)  # parallel calls; further calls wait
    _check(library.AOTInductorModelContainerCreateWithDevice(ctypes.byref(container), at_once, b"cpu", None))
    _check(library.AOTInductorModelContainerGetNumOutputs(container, ctypes.byref(n_outputs)))

    def run(tensors: list[Tensor]) -> list[Tensor]:
        inputs = (ctypes.c_void_p * len(tensors))(*map(_address, to_handles(tensors)))  # the code takes ownership
        outputs = (ctypes.c_void_p * n_outputs.value)()
        sizes = ctypes.c_size_t(len(tensors)), n_outputs
        _check(library.AOTInductorModelContainerRun(container, inputs, sizes[0], outputs, sizes[1], None, None))
        return list(to_tensors([_capsule(address, None, None) for address in outputs]))

    return run


def _exchange() -> tuple[Any, Any]:
    """Return torch's functions that convert tensors to handles, and handles to tensors.

    Raises:
        AttributeError: this torch does not have them.
    """
    aoti: Any = torch._C._aoti
    return aoti.unsafe_alloc_void_ptrs_from_tensors, aoti.alloc_tensors_by_stealing_from_void_ptrs


def _check(error: int) -> None:
    if error:
        raise RuntimeError("the compiled code failed; it has written the reason to standard error")


_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _address(capsule: object) -> int:
    return int(_pointer(capsule, None))
