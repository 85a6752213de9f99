"""An accelerator for machines without one: its tensors hold numbers, and it is as strict as a GPU, and as Apple's.

Its tensors say that they are on torch's ``meta`` device, which has autograd and vmap but no numbers; the numbers are
computed by the CPU, out of sight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")
MOVES = {"_to_copy", "copy_"}
READS = {"_local_scalar_dense", "equal", "nonzero", "is_nonzero"}  # wait for the device, as a move to the CPU does
NO_FLOAT64 = (
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. Please use float32 "
    "instead."
)


class OnDevice(Tensor):
    """A tensor on the accelerator; ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:  # noqa: PYI034 - Self needs Python 3.11
        facts = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made: OnDevice = Tensor._make_wrapper_subclass(cls, held.shape, **facts, device=DEVICE)  # type: ignore[attr-defined]
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"OnDevice({self.held})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{operator} on a tensor of the accelerator, which is switched off")


class Accelerator(TorchDispatchMode):
    """Compute with tensors of ``DEVICE`` as well as with those of the CPU, but never with both in one operation.

    A number, which is a CPU tensor without an axis, may go with either. There is no float64 on the device, and no
    conversion to it on the way to the CPU.

    Attributes:
        waits: how often the CPU has asked for a number of the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = operator.overloadpacket.__name__
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        inside = {id(leaf.held): leaf for leaf in given if isinstance(leaf, OnDevice)}
        if name not in MOVES:
            self._check_together(operator, given)
        if name == "copy_":
            self._check_copy(given[0], given[1])
        here = isinstance(given[0], OnDevice) if name == "copy_" else bool(inside)
        if kwargs.get("device") is not None:
            here, kwargs["device"] = torch.device(kwargs["device"]) == DEVICE, torch.device("cpu")
        args, kwargs = pytree.tree_map(lambda leaf: leaf.held if isinstance(leaf, OnDevice) else leaf, (args, kwargs))
        results = operator(*args, **kwargs)
        if inside and (name in READS or (name in MOVES and not here)):
            self.waits += 1
        if name == "_to_copy" and inside and not here:
            self._check_copy(results, next(iter(inside.values())))

        def settle(result: Any) -> Any:
            if not (here and isinstance(result, Tensor)):
                return result
            if result.dtype == torch.float64:
                raise TypeError(NO_FLOAT64)
            return inside[id(result)] if id(result) in inside else OnDevice(result)  # the first is one in place

        return pytree.tree_map(settle, results)

    @staticmethod
    def _check_together(operator: Any, given: list[Tensor]) -> None:
        if len({isinstance(tensor, OnDevice) for tensor in given if isinstance(tensor, OnDevice) or tensor.dim()}) > 1:
            raise RuntimeError(f"Expected all tensors to be on the same device, but {operator} got two devices")

    @staticmethod
    def _check_copy(target: Tensor, source: Tensor) -> None:
        if torch.float64 == target.dtype != source.dtype and isinstance(source, OnDevice):
            raise TypeError(NO_FLOAT64)
