"""``mamlkit lab``: copy the course to the reader's own folder and open JupyterLab there."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mamlkit.commands.course import FOLDER, copy_notebooks, describe, find_notebook, notebooks_folder
from mamlkit.commands.jupyter_folders import writable_folders
from mamlkit.core.system.imports import Lazy, check_installed

nbformat = Lazy("nbformat")
sign = Lazy("nbformat.sign")


def trust(folder: Path, names: Sequence[str]) -> None:
    """Mark these newly copied notebooks of ``folder`` as trusted in Jupyter, so that their figures work at once.

    Writes: Jupyter's database of signatures.
    """
    paths = [str(folder / name) for name in names]
    if paths:  # without a path, "jupyter trust" would wait for a notebook on standard input
        subprocess.run([sys.executable, "-m", "jupyter", "trust", *paths], check=False, capture_output=True)


def trusted(folder: Path) -> set[str]:
    """Return the notebooks of ``folder`` that Jupyter trusts, by name."""
    notary, known = sign.NotebookNotary(), set()
    for path in folder.rglob("*.ipynb"):
        with contextlib.suppress(Exception):  # no notebook
            if notary.check_signature(nbformat.read(path, as_version=4)):
                known.add(path.relative_to(folder).as_posix())
    notary.store.close()
    return known


def run_jupyterlab(folder: Path, options: list[str]) -> int:
    """Run JupyterLab in ``folder`` with this Python until it ends; return its exit code.

    Ctrl-C reaches JupyterLab, which asks before it stops; a request to end this process is forwarded to it.
    """
    process = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], cwd=folder)
    handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: lambda *_: process.terminate()}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@click.command(name="lab")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Folder of your copy of the notebooks; created if missing.",
)
@click.option("--no-browser", is_flag=True, help="Start the server and print its address; open no browser.")
@click.argument("arguments", nargs=-1, metavar="[NOTEBOOK] [-- JUPYTERLAB_OPTIONS]")
def command(*, folder: Path, no_browser: bool, arguments: tuple[str, ...]) -> None:
    """Open the course in JupyterLab, in a copy of your own.

    NOTEBOOK is the first notebook to open, given by its file name or its beginning, such as 03 or draw. Cells that you
    have changed are never overwritten: a later correction of the course is put below them. The originals never change.
    Options for JupyterLab itself follow two dashes:

    mamlkit lab 03 -- --port=9000
    """
    check_installed("mamlkit lab", ("jupyterlab",), extra="lab")
    source = notebooks_folder()
    options = list(arguments)
    if options and not options[0].startswith("-"):
        options[0] = f"--LabApp.default_url=/lab/tree/{find_notebook(source, options[0])}"
    if no_browser:
        options.insert(0, "--no-browser")
    with writable_folders() as sentence:
        if sentence:
            click.echo(sentence)
        ours = trusted(folder)
        report = copy_notebooks(source, folder)
        trust(folder, [*report.written, *(ours & report.merged.keys())])
        for line in describe(folder, report):
            click.echo(line)
        code = run_jupyterlab(folder, options)
    click.get_current_context().exit(code)
