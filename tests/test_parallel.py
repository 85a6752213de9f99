"""One run over several real processes: the same as over one, refused in one sentence, and nobody left waiting.

Most processes here are forked from a server that has torch loaded, into the environment that
torchrun makes; two tests call torchrun itself.
"""

from __future__ import annotations

import dataclasses
import doctest
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils import _pytree as pytree

from mamlkit import Evaluation, InputError, MetaLearner, configure, evaluate
from mamlkit.__main__ import main
from mamlkit.core.outer_loop import MetaStep
from mamlkit.core.schedules import StepConfig
from mamlkit.datasets import load
from mamlkit.runs import checkpoints
from mamlkit.training import parallel
from mamlkit.training.parallel import ALONE, Ranks, joined
from mamlkit.training.trainer import Trainer, make_sampler

SMALL = [
    "--n-way", "2", "--filters", "4", "--n-steps", "2", "--n-tasks", "4", "--q-query", "1", "--eval-query", "2",
    "--epochs", "2", "--iterations-per-epoch", "2", "--val-episodes", "5", "--test-episodes", "2", "--ensemble", "2",
    "--device", "cpu", "--dtype", "float64", "--engine", "vmap",
]  # fmt: skip
TINY = configure("mamlpp", n_way=2, filters=3, n_steps=2, eval_query=4, inner_lr=0.4, dtype="float64", device="cpu")
EPISODES = (2, 7)  # fewer than the processes, and not a multiple of them
PATIENCE = 600  # seconds that processes may take on a busy machine


class Ended(NamedTuple):
    """How a process ended."""

    code: int | None
    out: str
    err: str


def start(work: Callable[[], Any], files: Path, environment: dict[str, str]) -> None:
    """Do some work as torchrun would have it done, on one thread, with what it says in two files."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
        os.dup2(os.open(f"{files}.{name}", os.O_WRONLY | os.O_CREAT), stream.fileno())
    work()


def each_of(size: int, work: Callable[[], Any], folder: Path) -> list[Ended]:
    """Do the same work in ``size`` processes that share a store, as torchrun's agent gives one."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(["mamlkit.__main__", "torch._dynamo"])  # which Adam loads
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    files = [folder / f"process-{rank}" for rank in range(size)]
    processes = []
    for rank, file in enumerate(files):
        place = {"WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        processes.append(context.Process(target=start, args=(work, file, address | place)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        process.kill()  # no process here may wait for ever
        process.join()
    texts = [[Path(f"{file}.{name}").read_text("utf-8") for name in ("out", "err")] for file in files]
    return [Ended(process.exitcode, *text) for process, text in zip(processes, texts)]


def run_main(arguments: tuple[str, ...]) -> None:
    main(["train", *arguments])


def train(*arguments: str) -> Callable[[], Any]:
    return partial(run_main, arguments)


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``mamlkit train`` in two processes as a user would."""
    begin = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*begin, "-m", "mamlkit", "train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def tensors(folder: Path) -> dict[str, Tensor]:
    """Return what the last epoch's checkpoint holds: parameters, rates, buffers and Adam's moments."""
    return checkpoints.read(folder / "checkpoints" / "epoch-0002.safetensors")[1]


def metrics(folder: Path) -> list[Any]:
    """Return every value that the run kept of its iterations and epochs, in order, but no times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    values = [value for line in lines for key, value in line.items() if key != "seconds"]
    return pytree.tree_leaves(values)


def assert_same_run(folder: Path, expected: Path) -> None:
    mine, theirs = tensors(folder), tensors(expected)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        # A convolution's bias moves the mean alone, which batch norm takes out again: its gradient is rounding errors,
        # of which Adam makes steps.
        noisy = (name.startswith("model/convs.") and name.endswith("bias")) or name.endswith("running_mean")
        assert np.allclose(tensor, theirs[name], rtol=1e-10, atol=1e-8 if noisy else 1e-14), name
    for value, wanted in zip(metrics(folder), metrics(expected), strict=True):
        assert value == (pytest.approx(wanted, rel=1e-9, abs=1e-12) if type(wanted) is float else wanted)
    results = [json.loads((path / "result.json").read_text("utf-8"))["evaluations"] for path in (folder, expected)]
    assert results[0].keys() == results[1].keys()
    for norm, found in results[0].items():
        wanted = results[1][norm]
        assert found.pop("norm") == wanted.pop("norm")
        assert found == pytest.approx(wanted, rel=1e-9)


def assert_said_once(ended: list[Ended], sentence: str) -> None:
    """Check that all processes ended with code 2, and that one of them said why, and nothing else was said."""
    assert [process.code for process in ended] == [2] * len(ended), ended
    assert sorted(process.err for process in ended)[:-1] == [""] * (len(ended) - 1)
    [said] = [process.err for process in ended if process.err]
    assert sentence in said
    assert said.count("\n") == 1


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run by one process; for reading only."""
    folder = tmp_path_factory.mktemp("alone")
    [ended] = each_of(1, train(*SMALL, "--out", str(folder / "run")), folder)
    assert ended.code == 0, ended
    return folder / "run"


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(parallel)
    assert result.attempted >= 1
    assert result.failed == 0


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 200])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_shares_are_whole_in_order_and_as_equal_as_can_be(n: int, size: int) -> None:
    shares = [Ranks(rank, size, 0).share(n) for rank in range(size)]
    assert [i for share in shares for i in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("n_tasks", "size", "allowed"), [(4, 3, "1, 2 or 4 are"), (2, 4, "1 or 2 are"), (1, 2, "1 is"), (12, 8, "6 or 12")]
)
def test_a_meta_batch_that_cannot_be_split_evenly_is_refused(n_tasks: int, size: int, allowed: str) -> None:
    sentence = f"^n_tasks = {n_tasks} cannot be split over {size} processes; .*{allowed}"
    with pytest.raises(InputError, match=sentence):
        Ranks(0, size, 0).tasks(n_tasks)


def test_without_torchrun_a_process_is_alone_and_everything_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as ranks:
        assert ranks == ALONE
        assert not dist.is_initialized()
    step: MetaStep = object()  # type: ignore[assignment]
    tensor = torch.tensor([1.0, torch.nan])
    assert ALONE.combine(step, {}, StepConfig((1.0,))) is step
    assert ALONE.total([tensor])[0] is tensor
    assert ALONE.from_first(lambda: step) is step
    assert ALONE.tasks(3) == ALONE.share(3) == range(3)
    with ALONE.first_here():
        pass


def test_torchrun_with_two_processes_agrees_with_one(alone: Path, tmp_path: Path) -> None:
    done = torchrun(*SMALL, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == done.stdout.count("Everything is in") == 1  # the first process alone
    assert_same_run(tmp_path / "run", alone)


def test_four_processes_agree_with_one(alone: Path, tmp_path: Path) -> None:
    ended = each_of(4, train(*SMALL, "--out", str(tmp_path / "run")), tmp_path)
    assert [process.code for process in ended] == [0, 0, 0, 0], ended
    assert [bool(process.out) for process in ended] == [True, False, False, False]
    assert [bool(process.err) for process in ended[1:]] == [False, False, False]
    assert_same_run(tmp_path / "run", alone)


def test_two_processes_go_on_with_a_run_that_one_began(alone: Path, tmp_path: Path) -> None:
    shutil.copytree(alone, tmp_path / "run")
    for name in ("result.json", "checkpoints/epoch-0002.safetensors"):
        (tmp_path / "run" / name).unlink()
    ended = each_of(2, train("--resume", str(tmp_path / "run")), tmp_path)
    assert [process.code for process in ended] == [0, 0], ended
    assert "1 of 2 epochs are done" in ended[0].out
    assert_same_run(tmp_path / "run", alone)


def test_torchrun_into_a_folder_that_is_taken_says_so_once_and_leaves_it_as_it_is(alone: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in alone.rglob("*") if path.is_file()}
    done = torchrun(*SMALL, "--out", str(alone))
    assert done.returncode != 0
    assert done.stderr.count(f"Error: --out {alone} already holds a run; continue it with --resume {alone}") == 1
    assert "exitcode  : 2" in done.stderr
    assert "mamlkit/training/parallel.py" not in done.stderr  # no traceback of ours
    assert {path: path.read_bytes() for path in alone.rglob("*") if path.is_file()} == before


def test_three_processes_cannot_share_four_tasks_and_nothing_is_written(tmp_path: Path) -> None:
    ended = each_of(3, train(*SMALL, "--out", str(tmp_path / "run")), tmp_path)
    assert_said_once(ended, "Error: n_tasks = 4 cannot be split over 3 processes; 1, 2 or 4 are allowed")
    assert not (tmp_path / "run").exists()


def test_what_stops_all_processes_is_said_once(tmp_path: Path) -> None:
    ended = each_of(2, train(*SMALL, "--inner-lr", "1e200", "--out", str(tmp_path / "run")), tmp_path)
    assert_said_once(ended, "Error: the meta-gradient of iteration 1 is not finite")


def fail_in_the_second_process() -> None:
    with joined() as ranks:
        if ranks.rank == 1:
            raise OSError("only here")
        ranks.from_first(lambda: None)
        ranks.total([torch.zeros(1)])


def test_where_one_process_fails_the_others_end_without_a_word(tmp_path: Path) -> None:
    first, second, third = each_of(3, fail_in_the_second_process, tmp_path)
    assert "OSError: only here" in second.err
    assert (first.code, second.code, third.code) == (2, 1, 2)
    assert first.err == third.err == ""


def evaluations(ranks: Ranks) -> list[Evaluation]:
    learner = MetaLearner.from_config(TINY, (1, 28, 28))
    sampler = make_sampler(load("glyphs"), TINY, "val")
    return [evaluate([learner], sampler, n, ranks=ranks) for n in EPISODES]


def say_evaluations() -> None:
    with joined() as ranks:
        print([repr(found) for found in evaluations(ranks)])


def test_three_processes_share_the_episodes_of_an_evaluation_and_each_has_all_of_it(tmp_path: Path) -> None:
    ended = each_of(3, say_evaluations, tmp_path)
    expected = evaluations(ALONE)
    assert 0.5 < expected[1].accuracy < 1.0
    assert [process.out for process in ended] == [f"{[repr(found) for found in expected]}\n"] * 3, ended


def say_state() -> None:
    with joined() as ranks:
        config = dataclasses.replace(TINY, n_tasks=3, epochs=1, iterations_per_epoch=3, val_episodes=2)
        trainer = Trainer.from_config(config, load("glyphs"), ranks=ranks)
        [record] = trainer.epochs()
        state = b"".join(tensor.numpy().tobytes() for tensor in trainer.learner.state().values())
        print(hashlib.sha256(state).hexdigest(), dataclasses.replace(record, seconds=0.0))


def test_all_processes_come_to_the_same_bits_and_the_same_record(tmp_path: Path) -> None:
    first, second, third = each_of(3, say_state, tmp_path)
    assert "EpochRecord(epoch=1" in first.out
    assert first.out == second.out == third.out


def say_what_is_first(cache: Path) -> None:
    with joined() as ranks:
        with ranks.first_here():
            there = (cache / "made").exists()
            if ranks.local_rank == 0:
                (cache / "made").touch()
        print(there)


def test_the_first_process_of_a_machine_goes_before_the_others(tmp_path: Path) -> None:
    ended = each_of(3, partial(say_what_is_first, tmp_path), tmp_path)
    assert [process.out for process in ended] == ["False\n", "True\n", "True\n"], ended
