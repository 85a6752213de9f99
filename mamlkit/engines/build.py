"""Compile one function of ``mamlkit.engines.inner_step`` for one shape; run in a separate process.

    python -m mamlkit.engines.build inner_step '{"n_tasks": 2, ...}' out.pt2

The compiler takes hundreds of megabytes and many seconds; the compiled package takes neither. The package is tested on
an example, and rejected if its results differ from the results of its source function.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch._inductor import aoti_compile_and_package

from mamlkit.core.errors import InputError
from mamlkit.engines.closed_form import Gradient, Shape
from mamlkit.engines.compiler import call_flat, runner
from mamlkit.engines.first_stage import Patches
from mamlkit.engines.inner_step import InnerStep

SETTINGS = {"cpp.enable_kernel_profile": True}  # a profiler then shows the fused kernels by name
# Allowed relative l2 difference between package and source. In float32 a value near a kink, of the leaky ReLU or
# between two values of a pooling window, may fall on its other side; in float64 none does, and both are the same code.
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
    rates = torch.linspace(0.1, 0.4, len(shape.sizes), dtype=dtype)
    arguments = [theta, *norms, *Patches.of(images, shape.stride), y, rates]
    if function == "inner_step":
        return arguments
    adjoint, slope, saved = noise(sum(shape.sizes)), noise(sum(shape.sizes)), call_flat("inner_step", shape, arguments)
    return [*arguments, adjoint, slope, *saved[len(InnerStep._fields) + len(Gradient._fields) - 2 :]]


class Module(torch.nn.Module):
    """A function as a module, for ``torch.export``."""

    def __init__(self, function: str, shape: Shape) -> None:
        super().__init__()
        self.function, self.shape = function, shape

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Return the function's tensors, flat."""
        return call_flat(self.function, self.shape, list(arguments))


def build(function: str, shape: Shape, path: Path) -> None:
    """Compile a function into a package.

    Raises:
        InputError: the package cannot be loaded, or its results differ from the function's.

    Writes: ``path``. After an error the caller deletes it: on Windows a process cannot delete a library that it uses.
    """
    arguments = [tensor.contiguous() for tensor in example(function, shape)]
    with torch.no_grad():
        program = torch.export.export(Module(function, shape), tuple(arguments))
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=SETTINGS)
        check(runner(path)(arguments), call_flat(function, shape, arguments), shape)


def check(found: list[Tensor], expected: tuple[Tensor, ...], shape: Shape) -> None:
    """Raise unless the tensors agree with the expected tensors.

    Raises:
        InputError: a tensor differs by more than its precision allows, or has a NaN.
    """
    pairs = [(a, b) for a, b in zip(found, expected) if b.numel()]
    distance = float(torch.stack([(a - b).norm() / b.norm().clamp(min=1e-30) for a, b in pairs]).max())  # keeps a NaN
    if not distance <= TOLERANCES["bfloat16" if shape.autocast else shape.dtype]:
        raise InputError(f"the results of the compiled code are {distance:.1e} away from those of its source")


if __name__ == "__main__":
    build(sys.argv[1], Shape(**json.loads(sys.argv[2])), Path(sys.argv[3]))
