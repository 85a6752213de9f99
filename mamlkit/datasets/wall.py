"""The class wall: a folder of exported sheets of drawings as a data set of one alphabet, to test on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mamlkit.core.episodes import ImageStore
from mamlkit.core.errors import InputError
from mamlkit.datasets.drawings.sheet import MOST_BYTES, Sheet, read_sheet
from mamlkit.datasets.drawings.strokes import SIDE, Drawing, check_drawn, rasterise


def load_wall(path: str, image_size: int) -> ImageStore:
    """Open a folder of sheets: a class for each name, with the drawings of that name in all sheets.

    The pictures of a class are in the order of the sheets, the classes in that of their names. A class's own alphabet
    is there to be tested on: every class is in the split test, none in train and val. A drawing that is a copy of
    another one counts once, see ``find_copies``.

    Args:
        path: the folder of the ``.json`` files that drawing pads exported; a sheet's query has no name and is left out.
        image_size: height and width in pixels; drawn at 28, and resized if it is another.

    Raises:
        InputError: as ``read_sheets``, or there are fewer than 2 classes.

    Pure: it only reads; there is no cache.
    """
    contents = _read_files(path)
    sheets, _ = _read_contents(contents)
    names = sorted({name for sheet in sheets.values() for name in sheet.classes})
    if len(names) < 2:
        raise InputError(f"the sheets in {path} have {len(names)} classes; 2 or more are needed")
    drawings = [[sheet.classes[name] for sheet in sheets.values() if name in sheet.classes] for name in names]
    images = np.stack([rasterise(drawing) for row in drawings for drawing in row])  # [n, 28, 28]
    if image_size != SIDE:
        images = np.stack([_resize(image, image_size) for image in images])
    none = np.arange(0)
    return ImageStore(
        name="wall",
        images=images,
        offsets=np.cumsum([0, *map(len, drawings)]),
        class_names=tuple(names),
        splits={"train": none, "val": none, "test": np.arange(len(names))},
        sha256=hashlib.sha256(b"".join(contents.values())).hexdigest(),
    )


def read_sheets(path: str) -> dict[str, Sheet]:
    """Return the sheets of a folder by file name without ``.json``, in the order of the names, without copies.

    Args:
        path: the folder.

    Raises:
        InputError: there is no such folder, or no sheet in it; or a file in it is no sheet, or has a drawing that is
            empty or a dot.

    Pure: it only reads.
    """
    sheets, _ = _read_contents(_read_files(path))
    return {file.stem: sheet for file, sheet in sheets.items()}


def find_copies(path: str) -> tuple[str, ...]:
    """Return which drawings of a folder are copies, as ``"'5' of bob"``; they are in no sheet and in no data set.

    A copy has the name and the strokes of a drawing in an earlier file.

    Raises:
        InputError: as ``read_sheets``.

    Pure: it only reads.
    """
    return _read_contents(_read_files(path))[1]


def _resize(image: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((image_size, image_size), Image.Resampling.LANCZOS))


def _read_files(path: str) -> dict[Path, bytes]:
    if not path:
        raise InputError("the data set wall needs a path, the folder of the exported sheets; it is empty")
    root = Path(os.path.expanduser(path))
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; a folder of the sheets that drawing pads exported is needed")
    files = sorted(file for file in root.glob("*.json") if not file.name.startswith("."))
    if not files:
        raise InputError(f"{root} has no file that ends in .json; put the sheets that drawing pads exported there")
    return {file: _read_bytes(file) for file in files}


def _read_bytes(file: Path) -> bytes:
    try:
        with open(file, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)  # no more of it: it may be anything
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"{file} has more than {MOST_BYTES} bytes, the most that a sheet of drawings has")
    return content


def _read_contents(contents: dict[Path, bytes]) -> tuple[dict[Path, Sheet], tuple[str, ...]]:
    """Return the sheets without copies, and the copies by name and file.

    An example that nobody drew over, or a second export, would be tested against itself. A single line of two points
    may be drawn alike by two people.
    """
    sheets: dict[Path, Sheet] = {}
    copies: list[str] = []
    seen: set[tuple[str, Drawing]] = set()
    for file, content in contents.items():
        sheet = _decode(file, content)
        twice = {n for n, drawing in sheet.classes.items() if (n, drawing) in seen and sum(map(len, drawing)) > 2}
        copies += [f"{name!r} of {file.stem}" for name in sheet.classes if name in twice]
        seen.update(sheet.classes.items())
        own = {name: drawing for name, drawing in sheet.classes.items() if name not in twice}
        if own or not twice:
            sheets[file] = Sheet(own, sheet.query)
    return sheets, tuple(copies)


def _decode(file: Path, content: bytes) -> Sheet:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not text; a sheet that a drawing pad exported is needed") from error
    sheet = read_sheet(text, str(file))
    for name, drawing in sheet.classes.items():
        check_drawn(drawing, f"{name!r} of {file}")
    return sheet
