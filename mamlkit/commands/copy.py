"""``mamlkit copy``: the course in a folder of the reader's own, without a server."""

from __future__ import annotations

from pathlib import Path

import click

from mamlkit.commands.course import FOLDER, copy_notebooks, describe, notebooks_folder


@click.command(name="copy")
@click.argument("folder", type=click.Path(path_type=Path), default=FOLDER)
def command(*, folder: Path) -> None:
    """Copy the course into FOLDER, or update an earlier copy; start no server.

    Without FOLDER the copy is in mamlkit-lab, as for "mamlkit lab". Cells that you have changed are never overwritten:
    a later correction of the course is put below them.
    """
    for line in describe(folder, copy_notebooks(notebooks_folder(), folder)):
        click.echo(line)
