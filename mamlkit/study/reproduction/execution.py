"""Execute a notebook in its environment and in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from nbformat import NotebookNode

QUIET = ["--IPKernelApp.log_level=CRITICAL"]  # a kernel's warnings would disturb the progress bar
START_SECONDS = 300  # a kernel starts slowly on a busy machine


def execute(notebook: NotebookNode, path: Path, parameters: Mapping[str, Any]) -> NotebookNode:
    """Execute a notebook with parameters by papermill, and return it with its outputs.

    Args:
        notebook: the notebook, with a cell tagged ``parameters``.
        path: file of the executed notebook, also during the run; its folder is the kernel's working folder.
        parameters: parameters by name.

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
