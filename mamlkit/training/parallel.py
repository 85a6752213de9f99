"""One run over several processes of torchrun, on one machine or on many.

    torchrun --nproc-per-node 2 -m mamlkit train --recipe mamlpp

Each process holds the whole learner and computes its share of each meta-batch. The meta-gradients are summed, so all
processes take the same step from the same weights. An episode depends only on its index, never on the process.

Axis letters: ``R`` processes, ``T`` tasks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous
from torch.utils import _pytree as pytree

from mamlkit.core.errors import InputError
from mamlkit.core.outer_loop import MetaStep, fold_batch_stats
from mamlkit.core.schedules import StepConfig
from mamlkit.core.transforms import Params

Made = TypeVar("Made")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among all of a run.

    Attributes:
        rank: number of the process, from 0; only the first process writes files and prints.
        size: R, number of processes.
        local_rank: number of the process on its machine, from 0.
    """

    rank: int
    size: int
    local_rank: int

    def share(self, n: int) -> range:
        """Return this process's share of ``n`` consecutive items; shares differ in size by at most one.

        >>> [[*Ranks(rank, 3, rank).share(7)] for rank in range(3)]
        [[0, 1], [2, 3], [4, 5, 6]]
        """
        return range(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def tasks(self, n_tasks: int) -> range:
        """Return this process's tasks of a meta-batch.

        Raises:
            InputError: the tasks cannot be split equally.
        """
        if n_tasks % self.size:
            *most, last = [str(size) for size in range(1, n_tasks + 1) if n_tasks % size == 0]
            allowed = f"{', '.join(most)} or {last} are" if most else f"{last} is"
            raise InputError(f"n_tasks = {n_tasks} cannot be split over {self.size} processes; {allowed} allowed")
        return self.share(n_tasks)

    def total(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums over processes of tensors with the same shapes on each; all processes get the same bits."""
        if self.size == 1:
            return [*tensors]
        flat = _flat(tensors)
        dist.all_reduce(flat)
        return _split(flat, tensors)

    def gather(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the tensors of all processes end to end, in the order of the processes, on each process.

        Args:
            tensors: [T/R, ...] of this process; the same shapes on each.
        """
        if self.size == 1:
            return [*tensors]
        flat = _flat(tensors)
        everyone = [torch.empty_like(flat) for _ in range(self.size)]
        dist.all_gather(everyone, flat)
        shares = (_split(one, tensors) for one in everyone)
        return [torch.cat(parts) for parts in zip(*shares)]

    def combine(self, step: MetaStep, buffers: Params, config: StepConfig) -> MetaStep:
        """Return the meta-step of the whole meta-batch, on each process.

            gradient = 1/R sum_r gradient(tasks of r)

        Args:
            step: the meta-step of this process's tasks.
            buffers: the model's buffers before the step.
            config: see ``mamlkit.core.outer_loop.fold_batch_stats``.

        Returns:
            The mean gradient and loss, the trace of all T tasks in order, and the buffers with all their statistics.
        """
        if self.size == 1:
            return step
        means, means_spec = pytree.tree_flatten((step.gradient, step.loss))
        gradient, loss = pytree.tree_unflatten(self.total([mean / self.size for mean in means]), means_spec)
        rows, trace_spec = pytree.tree_flatten(step.trace)  # [T/R, ...]
        trace = pytree.tree_unflatten(self.gather(rows), trace_spec)  # [T, ...]
        return MetaStep(gradient, loss, trace, fold_batch_stats(buffers, trace, config))

    def from_first(self, make: Callable[[], Made]) -> Made:
        """Call ``make`` on the first process only, and return its result on each process."""
        made = [make() if self.rank == 0 else None]
        if self.size > 1:
            dist.broadcast_object_list(made)
        return made[0]  # type: ignore[return-value]

    @contextlib.contextmanager
    def first_here(self) -> Iterator[None]:
        """Run the first process of each machine before the others, so that they find its files in the cache."""
        if self.local_rank:
            self._wait_for_all()
        yield
        if not self.local_rank:
            self._wait_for_all()

    def _wait_for_all(self) -> None:
        self.total([torch.zeros(1)])


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return the tensors concatenated and flat, on the CPU if their device has no NCCL."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    return flat if f"{flat.device.type}:nccl" in dist.get_backend_config() else flat.cpu()


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    pieces = torch.split(flat, [tensor.numel() for tensor in like])
    return [piece.view(tensor.shape).to(tensor) for piece, tensor in zip(pieces, like)]


ALONE = Ranks(rank=0, size=1, local_rank=0)


def choose_backend(*, cuda: bool, nccl: bool) -> str:
    """Return the backend of torch.distributed; tensors of a device without NCCL go through the CPU.

    Args:
        cuda: this machine has a CUDA device.
        nccl: this torch has NCCL, which Windows lacks.

    >>> choose_backend(cuda=True, nccl=False)
    'gloo'
    """
    return "cpu:gloo,cuda:nccl" if cuda and nccl else "gloo"


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Join the process group of torchrun, and leave it at the end; without torchrun, this process is alone.

    The first failing rank raises; the others exit with code 2.

    Raises:
        SystemExit: with code 2, on a process that fails after another process.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    local_rank, cuda = int(os.environ["LOCAL_RANK"]), torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    backend = choose_backend(cuda=cuda, nccl=dist.is_nccl_available())
    store, rank, size = next(rendezvous("env://"))
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield Ranks(rank, size, local_rank)
    except (Exception, KeyboardInterrupt) as error:
        if store.add("failed", 1) > 1:
            raise SystemExit(2) from error
        raise
    finally:
        dist.destroy_process_group()
