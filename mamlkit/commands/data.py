"""``mamlkit data``: list the data sets, or fetch and check a data set."""

from __future__ import annotations

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from mamlkit.core.data_sources import SOURCES, DataSource
from mamlkit.core.episodes import ImageStore
from mamlkit.core.system.files import cache_dir
from mamlkit.core.system.imports import load_by_name
from mamlkit.datasets import load
from mamlkit.datasets.store import data_dir


@click.command(name="data")
@click.argument("name", default="")
@click.argument("path", default="")
@click.option("--image-size", default=28, show_default=True, help="Height and width in pixels.")
def command(*, name: str, path: str, image_size: int) -> None:
    """List the data sets, or fetch, check and open a data set.

    Without a NAME, list the data sets. With a NAME, download the data set if possible, check it, prepare its cache
    file, and describe it. PATH is the folder of mini-imagenet, of your own pictures, or of a class's drawing sheets.
    """
    if not name:
        _list()
        return
    store = load(name, path=path, image_size=image_size)
    if SOURCES[name].verify:
        load_by_name(SOURCES[name].verify)()
    _describe(store)


def _list() -> None:
    table = Table("name", "classes", "images", "pixels", "train/val/test", "where", title="Data sets")
    for name, source in SOURCES.items():
        pixels = f"{source.pixels}x{source.pixels}" if source.pixels else "any"
        table.add_row(name, source.classes, source.images, pixels, source.split, _place(source))
    console = Console()
    console.print(table)
    console.print(f"data:  {data_dir() or 'MAMLKIT_DATA is not set'}", soft_wrap=True, highlight=False)
    console.print(f"cache: {cache_dir()}", soft_wrap=True, highlight=False)
    console.print("Fetch or check a data set: mamlkit data NAME [PATH]", highlight=False)


def _place(source: DataSource) -> str:
    return "present" if source.find and load_by_name(source.find)() else source.place


def _describe(store: ImageStore) -> None:
    counts = np.diff(store.offsets)
    height, width, *channels = store.images.shape[1:]
    per_class = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    sizes = {split: len(classes) for split, classes in store.splits.items()}
    click.echo(f"{store.name}: {len(store.class_names):,} classes, {len(store.images):,} images, {per_class} per class")
    click.echo(f"images: {height}x{width}, {'colour' if channels else 'grey'}")
    click.echo(f"splits: {', '.join(f'{split} {size:,}' for split, size in sizes.items())} classes")
    click.echo(f"sha256: {store.sha256}")
