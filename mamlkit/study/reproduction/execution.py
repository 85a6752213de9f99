"""Execute a notebook in its environment and in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from tenacity import retry, retry_if_exception, stop_after_attempt

QUIET = ["--IPKernelApp.log_level=CRITICAL"]  # a kernel's warnings would disturb the progress bar
START_SECONDS = 300  # a kernel starts slowly on a busy machine
STARTS = 3  # a kernel cannot start if another process takes one of its ports between their choice and their use


def execute(notebook: NotebookNode, path: Path, parameters: Mapping[str, Any]) -> NotebookNode:
    """Execute a notebook with parameters by papermill, and return it with its outputs.

    Args:
        notebook: the notebook, with a cell tagged ``parameters``.
        path: file of the executed notebook, also during the run; its folder is the kernel's working folder.
        parameters: parameters by name.

    Raises:
        PapermillExecutionError: a cell raised.
        DeadKernelError: the kernel died, or did not start in three attempts.

    Writes: ``path``.
    """
    try:
        return _execute(notebook, path, parameters)
    except RuntimeError as error:
        raise DeadKernelError(str(error)) from error


def _did_not_start(error: BaseException) -> bool:
    """Return whether this is jupyter_client's error for a kernel that ended before its first answer."""
    return isinstance(error, RuntimeError) and not isinstance(error, DeadKernelError)


@retry(retry=retry_if_exception(_did_not_start), stop=stop_after_attempt(STARTS), reraise=True)
def _execute(notebook: NotebookNode, path: Path, parameters: Mapping[str, Any]) -> NotebookNode:
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
