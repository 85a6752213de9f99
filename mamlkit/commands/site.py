"""``mamlkit site``: the course as HTML for a USB stick or any web server, without network, kernel or Python."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import click
from tqdm import tqdm

from mamlkit.commands.course import notebooks_folder, read_manifest, sha256
from mamlkit.core.errors import InputError
from mamlkit.core.system.files import replace, write_whole
from mamlkit.core.system.imports import check_installed, lazily

MANIFEST = ".mamlkit-site.json"  # {file name: SHA-256 of the written file}
UNFINISHED = ".mamlkit-site.new"  # the folder of a site until it is complete
PACKAGES = ("jinja2", "latex2mathml", "nbconvert")


pages = lazily("mamlkit.commands.site_pages")  # with nbconvert, which loads slowly


def notebook_names(source: Path, *, solutions: bool) -> list[str]:
    """Return the names of a folder's notebooks, of the live pages, then of the solutions, without the suffix."""
    folders = (source, source / "live", *([source / "solutions"] if solutions else []))
    paths = [path for folder in folders for path in sorted(folder.glob("*.ipynb"))]
    return [path.relative_to(source).with_suffix("").as_posix() for path in paths]


def check_ours(out: Path) -> list[str]:
    """Raise if a folder holds a file of another origin; return the names of the files of an older site.

    Hidden files do not count, because systems create them; they are never changed.

    Raises:
        InputError: ``out`` is a file, or a file in it was written by another program or changed later.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; choose a folder")
    written, ours = read_manifest(out / MANIFEST), []
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or any(part.startswith(".") for part in name.split("/")):
            continue
        if written.get(name) != sha256(path):
            raise InputError(f"{out} holds {name}, not from mamlkit site or changed since; choose an empty folder")
        ours.append(name)
    return ours


def replace_site(out: Path, ours: Collection[str], files: Mapping[str, bytes]) -> None:
    """Write a site into its folder, and delete the older site.

    All files are first written into a separate folder, so a full disk does not damage the older site.

    Args:
        out: the folder; created if missing.
        ours: the names of the older site's files, from ``check_ours``.
        files: name -> content.

    Raises:
        InputError: a file cannot be written.

    Writes: ``files`` and ``.mamlkit-site.json`` in ``out``.
    """
    new = out / UNFINISHED
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    try:
        for name, content in {**files, MANIFEST: json.dumps(manifest, indent=1).encode()}.items():
            write_whole(new / name, content)
        for name in set(ours) - set(files):
            (out / name).unlink()
            _remove_empty((out / name).parent)
        for name in (*files, MANIFEST):
            (out / name).parent.mkdir(exist_ok=True)
            replace(new / name, out / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        _remove_empty(out)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # the folder is not empty, or was never created
        folder.rmdir()


@click.command(name="site")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--solutions/--no-solutions", default=True, show_default=True, help="The solved exercises as well.")
def command(*, out: Path, solutions: bool) -> None:
    """Write the course as HTML into the folder OUT.

    The pages need no network, no Python and no server: they open from a USB stick, and the figures move. OUT is created
    if missing. An older site in it is replaced; a folder with files of your own is rejected.
    """
    check_installed("mamlkit site", PACKAGES, extra="site")
    source = notebooks_folder()
    names = notebook_names(source, solutions=solutions)
    ours = check_ours(out)
    rendered = tqdm(
        pages.render(source, names), total=len(names) + 1, desc="site", unit="page", dynamic_ncols=True, disable=None
    )
    files = {name: page.encode() for name, page in rendered}
    replace_site(out, ours, files)
    size = sum(map(len, files.values())) / 1e6
    click.echo(f"The course is in {out}: {len(files)} pages, {size:.1f} MB. Open {out / 'index.html'} in a browser.")
