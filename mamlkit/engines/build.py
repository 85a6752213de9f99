"""Compile one function of ``mamlkit.engines.closed_form`` for one shape; run in a process of its own.

    python -m mamlkit.engines.build gradient '{"n_tasks": 2, ...}' out.pt2

The compiler takes hundreds of megabytes and many seconds; what it leaves takes neither. The package is tried on an
example before it is handed over, and refused if it does not give the numbers of the function it was made from.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch._inductor import aoti_compile_and_package

from mamlkit.core.errors import InputError
from mamlkit.engines.closed_form import Shape
from mamlkit.engines.compiler import call_flat, runner
from mamlkit.engines.first_stage import Patches

SETTINGS = {"cpp.enable_kernel_profile": True}  # a profiler then sees the fused kernels by name
# Relative l2 difference allowed between the two. In float32 a value beside a kink, of the leaky ReLU or between two
# values of a pooling window, may fall on its other side; in float64 none does, and the two are the same code.
TOLERANCES = {"bfloat16": 0.2, "float32": 0.05, "float64": 1e-10}


def example(function: str, shape: Shape) -> list[Tensor]:
    """Return random arguments of a function, flat."""
    dtype = getattr(torch, shape.dtype)
    generator = torch.Generator().manual_seed(0)

    def noise(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=dtype)

    theta = noise(sum(shape.sizes)) / 10
    norms = 1 + noise(4, shape.filters) / 10, noise(4, shape.filters) / 10
    images = noise(shape.n_tasks, shape.n_images, shape.channels, shape.size, shape.size)
    y = torch.arange(shape.n_images).remainder(shape.n_way).repeat(shape.n_tasks, 1)
    arguments = [theta, *norms, *Patches.of(images, shape.stride), y]
    if function == "gradient":
        return arguments
    return [*arguments, noise(sum(shape.sizes)), *call_flat("gradient", shape, arguments)[7:]]


class Module(torch.nn.Module):
    """A function as the module that ``torch.export`` takes."""

    def __init__(self, function: str, shape: Shape) -> None:
        super().__init__()
        self.function, self.shape = function, shape

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Return the function's tensors, flat."""
        return call_flat(self.function, self.shape, list(arguments))


def build(function: str, shape: Shape, path: Path) -> None:
    """Compile a function into a package.

    Raises:
        InputError: the package cannot be loaded, or does not agree with the function.

    Writes: ``path``, to be deleted where this raises: Windows does not let a process delete a library that it uses.
    """
    arguments = [tensor.contiguous() for tensor in example(function, shape)]
    with torch.no_grad():
        program = torch.export.export(Module(function, shape), tuple(arguments))
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=SETTINGS)
        check(runner(path)(arguments), call_flat(function, shape, arguments), shape)


def check(found: list[Tensor], expected: tuple[Tensor, ...], shape: Shape) -> None:
    """Refuse tensors that are not those expected.

    Raises:
        InputError: one differs by more than its precision allows, or is not a number.
    """
    pairs = [(a, b) for a, b in zip(found, expected) if b.numel()]
    distance = float(torch.stack([(a - b).norm() / b.norm().clamp(min=1e-30) for a, b in pairs]).max())  # keeps a NaN
    if not distance <= TOLERANCES["bfloat16" if shape.autocast else shape.dtype]:
        raise InputError(f"the compiled code is {distance:.1e} away from the function it was made from")


if __name__ == "__main__":
    build(sys.argv[1], Shape(**json.loads(sys.argv[2])), Path(sys.argv[3]))
