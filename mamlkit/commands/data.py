"""``mamlkit data``: list the data sets, or fetch and check one."""

from __future__ import annotations

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from mamlkit.core.episodes import ImageStore
from mamlkit.core.system.files import cache_dir
from mamlkit.datasets import load
from mamlkit.datasets.omniglot import ARCHIVES, find_archive, local_archive, verify
from mamlkit.datasets.store import data_dir


@click.command(name="data")
@click.argument("name", default="")
@click.argument("path", default="")
@click.option("--image-size", default=28, show_default=True, help="Height and width in pixels.")
def command(*, name: str, path: str, image_size: int) -> None:
    """List the data sets, or fetch, check and open one.

    Without a name: list them. With the NAME of one (glyphs, omniglot, mini-imagenet, folder or wall): download it if
    it is one to download, check it, prepare its cache file, and print what was found. PATH is the folder of
    mini-imagenet, of your own pictures, or of a class's sheets of drawings.
    """
    if not name:
        _list()
        return
    store = load(name, path=path, image_size=image_size)
    if name == "omniglot":
        verify([find_archive(archive) for archive in ARCHIVES])
    _describe(store)


def _list() -> None:
    glyphs = load("glyphs")
    counts = f"{len(glyphs.class_names):,}", f"{len(glyphs.images):,}"
    split = "/".join(str(len(classes)) for classes in glyphs.splits.values())
    table = Table("name", "classes", "images", "pixels", "train/val/test", "where", title="Data sets")
    table.add_row("glyphs", *counts, "28x28", split, "packaged")
    table.add_row("omniglot", "1,623", "32,460", "105x105", "1150/50/423", _omniglot_place())
    table.add_row("mini-imagenet", "100", "60,000", "84x84", "64/16/20", _mini_imagenet_place())
    table.add_row("folder", "-", "-", "any", "64/16/20 %", "your pictures")
    table.add_row("wall", "-", "-", "28x28", "0/0/100 %", "drawn sheets")
    console = Console()
    console.print(table)
    console.print(f"data:  {data_dir() or 'MAMLKIT_DATA is not set'}", soft_wrap=True, highlight=False)
    console.print(f"cache: {cache_dir()}", soft_wrap=True, highlight=False)
    console.print("Fetch or check one: mamlkit data NAME [PATH]", highlight=False)


def _omniglot_place() -> str:
    return "present" if all(local_archive(archive) for archive in ARCHIVES) else "absent (14 MB)"


def _mini_imagenet_place() -> str:
    parent = data_dir()
    return "present" if parent is not None and (parent / "mini-imagenet").is_dir() else "absent"


def _describe(store: ImageStore) -> None:
    counts = np.diff(store.offsets)
    height, width, *channels = store.images.shape[1:]
    per_class = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    sizes = {split: len(classes) for split, classes in store.splits.items()}
    click.echo(f"{store.name}: {len(store.class_names):,} classes, {len(store.images):,} images, {per_class} per class")
    click.echo(f"images: {height}x{width}, {'colour' if channels else 'grey'}")
    click.echo(f"splits: {', '.join(f'{split} {size:,}' for split, size in sizes.items())} classes")
    click.echo(f"sha256: {store.sha256}")
