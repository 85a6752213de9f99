"""``mamlkit lab``: copy the course to the reader's own folder and open JupyterLab there."""

from __future__ import annotations

import difflib
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from mamlkit.core.errors import InputError
from mamlkit.core.system.files import write_whole
from mamlkit.core.system.imports import check_installed

MANIFEST = ".mamlkit-lab.json"  # {file name: SHA-256 of the original at the time of copying}
_PACKAGE = Path(__file__).resolve().parents[1]


class CopyReport(NamedTuple):
    """The result of ``copy_notebooks``: file names relative to the folder, sorted."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


def notebooks_folder() -> Path:
    """Return the folder of the original notebooks: in the installed package, or beside it in a source tree.

    Raises:
        InputError: this installation has no notebooks.
    """
    folders = (_PACKAGE / "notebooks", _PACKAGE.parent / "notebooks")
    for folder in folders:
        if any(folder.glob("*.ipynb")):
            return folder
    places = " and ".join(str(folder) for folder in folders)
    raise InputError(f"no notebooks in {places}; install mamlkit again, or run from a complete clone")


def copy_notebooks(source: Path, target: Path) -> CopyReport:
    """Copy every notebook that the reader has not changed, including the solutions.

    A file in ``target`` belongs to the reader if it differs both from the original and from the last copy; it is kept.
    An older copy without changes is updated.

    Args:
        source: folder of the originals; it is not changed.
        target: folder of the copies; created if missing.

    Returns:
        The names of the written files, and of the files kept because the reader changed them.

    Raises:
        InputError: ``target`` is a file, is ``source`` or lies inside it, or has an invalid ``.mamlkit-lab.json``.

    Writes: the copies and ``.mamlkit-lab.json`` in ``target``, each atomically.
    """
    source, target = source.resolve(), target.resolve()
    if target.is_relative_to(source):
        raise InputError(f"--dir {target} is inside the originals in {source}; choose another folder")
    if target.exists() and not target.is_dir():
        raise InputError(f"--dir {target} is a file; choose a folder")
    copied = read_manifest(target / MANIFEST)
    written, kept = [], []
    for original in _notebooks(source):
        name = original.relative_to(source).as_posix()
        copy = target / name
        digest, present = sha256(original), sha256(copy) if copy.exists() else None
        if present not in (None, digest, copied.get(name)):
            kept.append(name)
            continue
        if present != digest:
            write_whole(copy, original.read_bytes())
            written.append(name)
        copied[name] = digest
    write_whole(target / MANIFEST, json.dumps(copied, indent=1).encode())
    return CopyReport(tuple(written), tuple(kept))


def read_manifest(path: Path) -> dict[str, str]:
    """Return {file name: SHA-256} from a command's list of written files; empty if there is no list.

    Raises:
        InputError: the file is not such a list.
    """
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is not the list of files that mamlkit wrote; delete it") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _notebooks(source: Path) -> list[Path]:
    """Return the notebooks to copy, without hidden files, such as those of editors."""
    paths = sorted(source.rglob("*.ipynb"))
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(source).parts)]


def find_notebook(folder: Path, name: str) -> str:
    """Return the notebook of ``folder`` with the given name or beginning of a name (``03``, ``draw``).

    Raises:
        InputError: no notebook, or more than one, matches.
    """
    paths = [*sorted(folder.glob("*.ipynb")), *sorted((folder / "live").glob("*.ipynb"))]
    names = [path.relative_to(folder).as_posix() for path in paths]
    exact = [each for each, path in zip(names, paths) if name in (each, each.removesuffix(".ipynb"), path.stem)]
    found = exact or [each for each, path in zip(names, paths) if each.startswith(name) or path.stem.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"notebook {name!r} may be {' or '.join(found)}; give more of its name")
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"no notebook {name!r}; {hint}There are: {', '.join(names)}")


def trust(folder: Path, names: Sequence[str]) -> None:
    """Mark these newly copied notebooks of ``folder`` as trusted in Jupyter, so that their figures work at once.

    Writes: Jupyter's database of signatures.
    """
    paths = [str(folder / name) for name in names]
    if paths:  # without a path, "jupyter trust" would wait for a notebook on standard input
        subprocess.run([sys.executable, "-m", "jupyter", "trust", *paths], check=False, capture_output=True)


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
    default=Path("mamlkit-lab"),
    show_default=True,
    help="Folder of your copy of the notebooks; created if missing.",
)
@click.option("--no-browser", is_flag=True, help="Start the server and print its address; open no browser.")
@click.argument("arguments", nargs=-1, metavar="[NOTEBOOK] [-- JUPYTERLAB_OPTIONS]")
def command(*, folder: Path, no_browser: bool, arguments: tuple[str, ...]) -> None:
    """Open the course in JupyterLab, in a copy of your own.

    NOTEBOOK is the first notebook to open, given by its file name or its beginning, such as 03 or draw. Notebooks that
    you have changed are never overwritten, and the originals never change. Options for JupyterLab itself follow two
    dashes:

    mamlkit lab 03 -- --port=9000
    """
    check_installed("mamlkit lab", ("jupyterlab",), extra="lab")
    source = notebooks_folder()
    options = list(arguments)
    if options and not options[0].startswith("-"):
        options[0] = find_notebook(source, options[0])
    if no_browser:
        options.insert(0, "--no-browser")
    try:
        report = copy_notebooks(source, folder)
    except OSError as error:
        raise InputError(f"cannot write to --dir {folder}: {error.strerror}; choose another folder") from error
    trust(folder, report.written)
    click.echo(f"The course is in {folder}: {len(report.written)} files written, {len(report.kept)} of yours kept.")
    for name in report.kept:
        click.echo(f"  kept as you changed it: {name} (delete it to get the original back)")
    click.get_current_context().exit(run_jupyterlab(folder, options))
