"""Execute a notebook in the environment and in the folder that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from nbformat import NotebookNode

QUIET = ["--IPKernelApp.log_level=CRITICAL"]  # a kernel's warnings would stand in the progress bar
START_SECONDS = 300  # a kernel on a busy machine takes its time


def execute(notebook: NotebookNode, path: Path, parameters: Mapping[str, Any]) -> NotebookNode:
    """Execute a notebook with parameters by papermill, and return it with its outputs.

    Args:
        notebook: with a cell tagged ``parameters``.
        path: where it is kept, while it runs too; its folder is the kernel's.
        parameters: by name.

    Raises:
        PapermillExecutionError: a cell raised.
        DeadKernelError: the kernel died.

    Writes: ``path``.
    """
    executed: NotebookNode = papermill.execute_notebook(
        notebook,
        str(path),
        parameters,
        kernel_name="python3",
        progress_bar=False,
        cwd=str(path.parent),
        start_timeout=START_SECONDS,
        extra_arguments=QUIET,
    )
    return executed
