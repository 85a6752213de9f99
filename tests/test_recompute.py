"""The derivative that keeps no graph over the steps: equal to the one that does, and flat in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from test_engines_adjoint import assert_equal_steps, graphed
from test_outer_loop import CONFIGS, MSL, Tasks

from mamlkit.core.outer_loop import MetaStep, meta_gradient
from mamlkit.core.problem import Problem
from mamlkit.core.recompute import map_tasks
from mamlkit.core.rules import SGD
from mamlkit.core.schedules import StepConfig

PEAKS = """
import torch
from mamlkit import Config, Episode, MetaLearner
from mamlkit.study.bench.worker import peak_mib
torch.set_num_threads(1)
images, labels = torch.rand(1, 10, 1, 28, 28), torch.arange(10).remainder(5).repeat(1, 1)
for n_steps, memory in ((5, "low"), (40, "low"), (20, "normal")):
    config = Config(filters=16, n_steps=n_steps, n_tasks=1, memory=memory, engine="eager", device="cpu")
    MetaLearner.from_config(config, (1, 28, 28)).meta_step(Episode(images, labels, images, labels), 0)
    print(peak_mib())
"""


def low(tasks: Tasks, config: StepConfig, **settings: Any) -> MetaStep:
    return meta_gradient(tasks.problem, tasks.meta, tasks.buffers, tasks.batch, config, low_memory=True, **settings)


@pytest.mark.parametrize("chunk", [1, 2, 3])
@pytest.mark.parametrize("adapt", ["all", "head", "body"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_gradient_loss_trace_and_buffers_are_those_of_the_graph(config: StepConfig, adapt: str, chunk: int) -> None:
    tasks = Tasks().adapting(adapt)
    assert_equal_steps(low(tasks, config, tasks_per_chunk=chunk), graphed(tasks, config))


def test_any_network_and_loss_will_do() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    problem = Problem(network, torch.nn.functional.mse_loss, SGD(0.1, 2))
    x, y = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(2, 5, 1, dtype=torch.float64)
    batch = type(Tasks().batch)(x, y, x, y)
    kept, again = (
        meta_gradient(problem, *problem.start(), batch, StepConfig((0.0, 1.0)), low_memory=low_memory)
        for low_memory in (False, True)
    )
    assert_equal_steps(again, kept)


def test_a_single_task_is_mapped_without_vmap() -> None:
    seen: list[bool] = []

    def task(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch._C._functorch.is_batchedtensor(x))
        return 2 * x

    assert torch.equal(map_tasks(task, torch.ones(1, 3)), torch.full((1, 3), 2.0))
    assert torch.equal(map_tasks(task, torch.ones(2, 3)), torch.full((2, 3), 2.0))
    assert seen == [False, True]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak memory this way")
def test_memory_does_not_grow_with_the_steps() -> None:
    # glibc would keep freed pieces for later: then the peak is more than what is alive, by chance
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", PEAKS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    few, many, graph = map(float, done.stdout.split())  # MiB, with torch itself
    assert many - few < 0.2 * (graph - many)


def test_the_rates_take_their_part_at_every_step() -> None:
    found = low(Tasks(), MSL).gradient.inner_lrs
    assert found[::2].all()
