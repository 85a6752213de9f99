"""Draw the contact sheet of the glyphs data set: one row for each script, and a few classes with all their drawings."""

from __future__ import annotations

import colorsys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL, GAP, LABEL, MARGIN = 42, 6, 210, 36
PAPER, TEXT = (250, 248, 244), (45, 45, 50)
N_HANDS = 6  # classes shown with all their drawings


def draw_contact_sheet(images: NDArray[np.bool_], names: list[str]) -> Image.Image:
    """Return the sheet.

    Args:
        images: ``[n_classes, n_images, H, W]``.
        names: ``"Script/U+XXXX NAME"`` for each class.
    """
    scripts = list(dict.fromkeys(name.split("/")[0] for name in names))
    members = {s: [i for i, name in enumerate(names) if name.startswith(s + "/")] for s in scripts}
    n_columns = images.shape[1]
    width = 2 * MARGIN + LABEL + n_columns * (CELL + GAP)
    rows = len(scripts) + N_HANDS
    sheet = Image.new("RGB", (width, 2 * MARGIN + 122 + rows * (CELL + GAP) - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN - 8), f"glyphs: {len(names):,} characters of {len(scripts)} scripts", TEXT, _font(30))
    pen.text((MARGIN, MARGIN + 36), "Different characters, one hand each", TEXT, _font(17))
    y = MARGIN + 70
    for number, script in enumerate(scripts):
        chosen = np.linspace(0, len(members[script]) - 1, min(n_columns, len(members[script]))).astype(int)
        row = [images[members[script][c], c % n_columns] for c in chosen]
        _row(sheet, y, f"{script}  ({len(members[script])})", row, _ink(number / len(scripts)))
        y += CELL + GAP
    y += MARGIN // 2
    pen.text((MARGIN, y), f"The same character in its {n_columns} hands", TEXT, _font(17))
    y += 34
    for number in np.linspace(1, len(scripts) - 2, N_HANDS).astype(int):
        index = members[scripts[number]][len(members[scripts[number]]) // 2]
        _row(sheet, y, names[index].split("/")[1].split()[0], list(images[index]), _ink(number / len(scripts)))
        y += CELL + GAP
    return sheet


def _row(sheet: Image.Image, y: int, label: str, row: list[NDArray[np.bool_]], ink: tuple[int, ...]) -> None:
    ImageDraw.Draw(sheet).text((MARGIN, y + CELL // 2), label, ink, _font(15), anchor="lm")
    for column, picture in enumerate(row):
        mask = Image.fromarray(picture.astype(np.uint8) * 255).resize((CELL, CELL), Image.Resampling.BICUBIC)
        x = MARGIN + LABEL + column * (CELL + GAP)
        sheet.paste((255, 255, 255), (x, y, x + CELL, y + CELL))
        sheet.paste(ink, (x, y), mask)


def _ink(hue: float) -> tuple[int, ...]:
    return tuple(round(255 * channel) for channel in colorsys.hls_to_rgb(hue, 0.33, 0.62))


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
