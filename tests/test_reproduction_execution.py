"""A notebook, really executed: in its own folder, with its parameters, without a word of its kernel's."""

from __future__ import annotations

import socket
from pathlib import Path

import nbformat
import pytest
from jupyter_client.connect import LocalPortCache
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from test_reproduction_cell import notebook

from mamlkit.study.reproduction.execution import execute


def test_a_notebook_is_executed_in_its_own_folder_with_its_parameters(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.ipynb"
    done = execute(nbformat.reads(notebook("import os\nprint(os.getcwd(), seed)"), as_version=4), path, {"seed": 7})
    assert done.cells[-1].outputs[0].text == f"{tmp_path.resolve()} 7\n"
    assert nbformat.read(path, as_version=4).cells[-1].outputs == done.cells[-1].outputs
    assert capfd.readouterr() == ("", "")


def test_a_cell_that_raises_leaves_the_notebook_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.ipynb"
    with pytest.raises(PapermillExecutionError, match="unlucky"):
        execute(nbformat.reads(notebook("raise ValueError('unlucky')"), as_version=4), path, {"seed": 7})
    assert "unlucky" in path.read_text("utf-8")


def take_ports(monkeypatch: pytest.MonkeyPatch, taken: int, starts: int) -> None:
    """Give the next kernels a port that another socket holds, as when a process takes it just before the kernel."""
    find, chosen = LocalPortCache.find_available_port, []

    def choose(self: LocalPortCache, ip: str) -> int:
        chosen.append(taken)
        return taken if len(chosen) <= 5 * starts and len(chosen) % 5 == 1 else find(self, ip)

    monkeypatch.setattr(LocalPortCache, "find_available_port", choose)


@pytest.mark.parametrize("starts", [1, 2])
def test_a_kernel_whose_port_was_taken_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starts: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        take_ports(monkeypatch, server.getsockname()[1], starts)
        done = execute(nbformat.reads(notebook("print(seed)"), as_version=4), tmp_path / "mine.ipynb", {"seed": 7})
    assert done.cells[-1].outputs[0].text == "7\n"


def test_a_kernel_that_never_starts_is_a_dead_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        take_ports(monkeypatch, server.getsockname()[1], 3)
        with pytest.raises(DeadKernelError, match="before replying"):
            execute(nbformat.reads(notebook("print(seed)"), as_version=4), tmp_path / "mine.ipynb", {"seed": 7})
