"""The class wall: a folder of exported drawing sheets as a test set of one alphabet."""

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
    """Open a folder of sheets as a data set, with one class for each name.

    A class holds the drawings of its name from all sheets.
    The classes are sorted by name, the pictures of a class by sheet. All classes are in the split test; train and val
    are empty. Copies of a drawing are left out, see ``find_copies``.

    Args:
        path: folder of the ``.json`` files that drawing pads exported; the queries of the sheets have no name and are
            ignored.
        image_size: height and width in pixels; the drawings are rendered at 28 pixels and resized for any other size.

    Raises:
        InputError: see ``read_sheets``; or there are fewer than 2 classes.
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
    """Return the sheets of a folder without copies: file name without ``.json`` -> sheet, sorted by name.

    Args:
        path: the folder.

    Raises:
        InputError: the folder is missing or has no sheet, a file is not a sheet, or a drawing is empty or a dot.
    """
    sheets, _ = _read_contents(_read_files(path))
    return {file.stem: sheet for file, sheet in sheets.items()}


def find_copies(path: str) -> tuple[str, ...]:
    """Return the drawings of a folder that are copies, as ``"'5' of bob"``; no sheet and no data set contains them.

    A copy has the same name and the same strokes as a drawing in an earlier file.

    Raises:
        InputError: see ``read_sheets``.
    """
    return _read_contents(_read_files(path))[1]


def _resize(image: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((image_size, image_size), Image.Resampling.LANCZOS))


def _read_files(path: str) -> dict[Path, bytes]:
    if not path:
        raise InputError("the data set wall needs a path, the folder of the exported sheets; it is empty")
    root = Path(os.path.expanduser(path))
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; it must be a folder of sheets that drawing pads exported")
    files = sorted(file for file in root.glob("*.json") if not file.name.startswith("."))
    if not files:
        raise InputError(f"{root} has no file that ends in .json; put the sheets that drawing pads exported there")
    return {file: _read_bytes(file) for file in files}


def _read_bytes(file: Path) -> bytes:
    try:
        with open(file, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)  # read no more than this: the file may be anything
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"{file} has more than {MOST_BYTES} bytes; a sheet of drawings has at most that many")
    return content


def _read_contents(contents: dict[Path, bytes]) -> tuple[dict[Path, Sheet], tuple[str, ...]]:
    """Return the sheets without copies, and the copies as texts.

    A copy arises from an example that nobody drew over or from a second export; a test on it would compare the drawing
    with itself. A single line of two points is not a copy: two people may draw the same line.
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
        raise InputError(f"{file} is not text; it must be a sheet that a drawing pad exported") from error
    sheet = read_sheet(text, str(file))
    for name, drawing in sheet.classes.items():
        check_drawn(drawing, f"{name!r} of {file}")
    return sheet
