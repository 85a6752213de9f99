"""The registry of data sets: each entry names the reader of a data set and describes the data.

To add a data set: write its reader, a function that returns an ``ImageStore``, and add an entry here. ``Config``,
``mamlkit.datasets.load`` and every command then offer it. The readers are named and not imported: the core does not
depend on ``mamlkit.datasets``, and a reader is imported at its first use.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSource:
    """A data set by name.

    Attributes:
        reader: ``"module:function"``; called with the image size, or with the path and the image size if
            ``takes_path``. It returns an ``ImageStore``.
        takes_path: whether the user may give a folder.
        characters: whether its images are characters, with ink 255 on background 0.
        pixels: height and width of the original images; 0 if they differ.
        classes, images, split: their numbers as text, for a table; ``split`` is train/val/test.
        place: origin of the data in a word or two, or the text shown while ``find`` finds nothing.
        find: ``"module:function"`` that returns the path of downloaded data, or ``""`` if they are not on this
            computer.
        how_to_get: a sentence for a user without the data; "" if nothing is downloaded.
        verify: ``"module:function"`` that raises an ``InputError`` if the files are not the published ones.
    """

    reader: str
    takes_path: bool = False
    characters: bool = False
    pixels: int = 0
    classes: str = "-"
    images: str = "-"
    split: str = "-"
    place: str = "-"
    find: str = ""
    how_to_get: str = ""
    verify: str = ""


SOURCES: dict[str, DataSource] = {
    "glyphs": DataSource(
        "mamlkit.datasets.glyphs:load_glyphs",
        characters=True,
        pixels=28,
        classes="1,050",
        images="21,000",
        split="735/105/210",
        place="packaged",
    ),
    "omniglot": DataSource(
        "mamlkit.datasets.omniglot:load_omniglot",
        characters=True,
        pixels=105,
        classes="1,623",
        images="32,460",
        split="1150/50/423",
        place="absent (14 MB)",
        find="mamlkit.datasets.omniglot:find",
        how_to_get="It is downloaded when first used, if the extra omniglot is installed; or put images_background.zip "
        "and images_evaluation.zip into the folder omniglot of $MAMLKIT_DATA.",
        verify="mamlkit.datasets.omniglot:verify_archives",
    ),
    "mini-imagenet": DataSource(
        "mamlkit.datasets.folders:load_mini_imagenet",
        takes_path=True,
        pixels=84,
        classes="100",
        images="60,000",
        split="64/16/20",
        place="absent",
        find="mamlkit.datasets.folders:find_mini_imagenet",
    ),
    "folder": DataSource(
        "mamlkit.datasets.folders:load_folder", takes_path=True, split="64/16/20 %", place="your pictures"
    ),
    "wall": DataSource(
        "mamlkit.datasets.wall:load_wall",
        takes_path=True,
        characters=True,
        pixels=28,
        split="0/0/100 %",
        place="drawn sheets",
    ),
}


def with_a_path() -> tuple[str, ...]:
    """Return the names of the data sets that take a path."""
    return tuple(name for name, source in SOURCES.items() if source.takes_path)


def without_a_path() -> tuple[str, ...]:
    """Return the names of the data sets that need no path."""
    return tuple(name for name, source in SOURCES.items() if not source.takes_path)
