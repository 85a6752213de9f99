"""Call a network with given tensors, check its behaviour, and apply a loss or metric to its outputs."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from mamlkit.core.batch_norm import NORM_BASE
from mamlkit.core.errors import InputError, described
from mamlkit.core.metrics import accuracy
from mamlkit.core.networks import SHIPPED
from mamlkit.core.transforms import Params

SHIPPED_FUNCTIONS = (F.cross_entropy, F.mse_loss, accuracy)


def call_network(network: nn.Module, tensors: Params, x: Any, step: int, norm: str) -> tuple[Any, Any]:
    """Return the outputs of a network with ``tensors``, and the statistics {layer: BatchStats} of its batch.

    Args:
        network: called as ``network(x, step=step, norm=norm)`` if its ``forward`` takes a ``step``, else as
            ``network(x)``.
        tensors: every parameter and buffer of the network, by name.
        x: the inputs, a tensor or any other value that the network takes.
        step: the inner step, from 0.
        norm: ``"batch"`` normalises by the batch's own statistics, ``"running"`` by the recorded ones.
    """
    with contextlib.nullcontext() if type(network) in SHIPPED else _twice_differentiable():
        if takes_the_step(type(network).forward):
            given = {"step": step, "norm": norm}
            return functional_call(network, tensors, (x,), given, strict=True)  # type: ignore[no-any-return]
        return functional_call(network, tensors, (x,), strict=True), {}


def apply(function: Callable[[Any, Any], Any], outputs: Any, targets: Any) -> Any:
    """Return the value of a loss or metric; a function of the user's own gets copies, into which it may write."""
    if function not in SHIPPED_FUNCTIONS:
        outputs, targets = pytree.tree_map(torch.clone, (outputs, targets))
    return function(outputs, targets)


@functools.cache
def takes_the_step(function: Callable[..., Any]) -> bool:
    """Return whether a network's ``forward`` has a parameter ``step``."""
    return "step" in inspect.signature(function).parameters


def check_network(network: nn.Module) -> None:
    """Raise unless a network has real parameters of known sizes on one device, and layers that write no statistics.

    Raises:
        InputError: see above; or ``network`` is not a module.
    """
    if not isinstance(network, nn.Module):
        raise InputError(f"the network {network!r} is not a torch.nn.Module; one is needed")
    kind = type(network).__name__
    devices = {str(parameter.device) for parameter in network.parameters()}
    if len(devices) != 1:
        where = f"parameters on {', '.join(sorted(devices))}" if devices else "no parameters"
        raise InputError(f"the network {kind} has {where}; parameters on one device are needed")
    for name, parameter in network.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise InputError(f"parameter {name!r} of the network {kind} has no size yet; give its size and values")
        if not parameter.is_floating_point():
            found = str(parameter.dtype).removeprefix("torch.")
            raise InputError(f"parameter {name!r} of the network {kind} is {found}; only real numbers are allowed")
    for name, layer in network.named_modules():
        if isinstance(layer, NORM_BASE) and layer.track_running_stats and layer.training:
            kind, own = type(layer).__name__, layer.num_features
            raise InputError(
                f"layer {name!r} of the network, {kind}({own}), writes its running statistics in place; write "
                f"{kind}({own}, track_running_stats=False), or mamlkit.core.batch_norm.PerStepBatchNorm2d"
            )


def check(network: nn.Module, tensors: Params, x: Any) -> None:
    """Pass inputs through a network once, and raise if the network cannot be used.

    Raises:
        InputError: the network cannot take the inputs, changes a tensor, or does not return the required pair.
    """
    if type(network) in SHIPPED:
        return
    own = {name: tensor.clone() for name, tensor in tensors.items()}
    before, kind = {name: (tensor, tensor._version) for name, tensor in own.items()}, type(network).__name__
    try:
        with torch.no_grad():
            answer = call_network(network, own, x, 0, "batch")
    except Exception as error:
        shapes = ", ".join(str(list(leaf.shape)) for leaf in pytree.tree_leaves(x))
        raise InputError(f"the network {kind} cannot take inputs of shape {shapes}: {described(error)}") from error
    for name, (tensor, version) in before.items():
        if own[name] is not tensor or tensor._version != version:
            raise InputError(f"the network {kind} changes its tensor {name!r} when called; return statistics instead")
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict)):
        raise InputError(f"the network {kind} takes the step, so it must return a pair (outputs, statistics)")


def own_modules(network: nn.Module) -> nn.Module:
    """Return a copy of a network's modules that shares the network's tensors, and those that its modules keep."""
    kept = [pytree.tree_leaves(vars(module)) for module in network.modules()]  # such as an attention map to look at
    return copy.deepcopy(network, {id(leaf): leaf for leaves in kept for leaf in leaves if isinstance(leaf, Tensor)})


@contextlib.contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Select the attention kernel that has a second derivative; the fused kernels have none."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
