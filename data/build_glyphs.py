"""Build glyphs.npz, the embedded data set, and its contact sheet glyphs.png.

    python data/build_glyphs.py

Each character is rendered from a font that matplotlib ships, thinned to its centre line, and drawn again twenty times
with a round pen: the line is scaled, slanted, rotated, shifted and bent a little, and the width of the pen varies, so
that the twenty pictures differ like the handwriting of twenty people. Characters that look like an earlier one, also
after a quarter turn, are left out. Every picture depends only on its code point and the seed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import PIL
from contact_sheet import draw_contact_sheet
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HERE = Path(__file__).parent
SEED, N_IMAGES, SIZE = 2018, 20, 28
SHARES = (0.7, 0.1)  # shares of the classes in train and val; the rest are test
VERSIONS = f"matplotlib {mpl.__version__}, Pillow {PIL.__version__}"
FINE = 4 * SIZE  # characters are drawn on a canvas four times as fine
BOX = 80  # the longer side of a character on that canvas
SHORTEST = 24  # points in a line; a line with fewer points consists only of dots
PEN = (2.4, 4.4)  # smallest and largest pen radius, in fine pixels
LOOK_ALIKE = 0.85  # from this cosine similarity of blurred clean pictures on, two characters count as one

DEJAVU, STIX = "DejaVuSans.ttf", "STIXGeneral.ttf"
# A character belongs to the first script whose words begin its Unicode name.
SCRIPTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Digits": (DEJAVU, ("DIGIT", "ARABIC-INDIC DIGIT", "EXTENDED ARABIC-INDIC DIGIT", "LAO DIGIT", "NKO DIGIT")),
    "Latin": (DEJAVU, ("LATIN",)),
    "Greek": (DEJAVU, ("GREEK",)),
    "Cyrillic": (DEJAVU, ("CYRILLIC",)),
    "Armenian": (DEJAVU, ("ARMENIAN",)),
    "Georgian": (DEJAVU, ("GEORGIAN",)),
    "Hebrew": (DEJAVU, ("HEBREW",)),
    "Arabic": (DEJAVU, ("ARABIC",)),
    "NKo": (DEJAVU, ("NKO",)),
    "Tifinagh": (DEJAVU, ("TIFINAGH",)),
    "Lao": (DEJAVU, ("LAO",)),
    "Lisu": (DEJAVU, ("LISU",)),
    "Coptic": (DEJAVU, ("COPTIC",)),
    "Old Italic": (DEJAVU, ("OLD ITALIC",)),
    "Ogham": (DEJAVU, ("OGHAM",)),
    "Canadian Syllabics": (DEJAVU, ("CANADIAN",)),
    "Fraktur": (STIX, ("MATHEMATICAL FRAKTUR", "BLACK-LETTER")),
    "Script": (STIX, ("MATHEMATICAL SCRIPT", "SCRIPT")),
    "Double-Struck": (STIX, ("MATHEMATICAL DOUBLE-STRUCK", "DOUBLE-STRUCK")),
}
LETTERS = ("Lu", "Ll", "Lo", "Nd")


class Character(NamedTuple):
    """A code point, its class name, and the points of its centre line, ``[n, 2]`` as (x, y) in [-1, 1]."""

    code: int
    name: str
    line: NDArray[np.float64]


def candidates() -> Iterator[tuple[int, str, str]]:
    """Yield code point, class name and font of every letter and digit of the scripts, script by script."""
    for script, (font, prefixes) in SCRIPTS.items():
        earlier = [p for s, (_, ps) in SCRIPTS.items() if s != script for p in ps if p.startswith(prefixes)]
        for code in sorted(FT2Font(str(font_path(font))).get_charmap()):
            name = unicodedata.name(chr(code), "")
            plain = font == STIX or not unicodedata.decomposition(chr(code))
            ours = name.startswith(prefixes) and not name.startswith(tuple(earlier))
            if ours and plain and unicodedata.category(chr(code)) in LETTERS:
                yield code, f"{script}/U+{code:04X} {name}", font


def font_path(font: str) -> Path:
    """Return the path of a font in matplotlib."""
    return Path(mpl.get_data_path()) / "fonts" / "ttf" / font


def render(code: int, font: str) -> NDArray[np.bool_] | None:
    """Return the filled character, scaled to ``BOX`` in the middle of the fine canvas; None if it is blank."""
    sheet = Image.new("L", (480, 480))
    ImageDraw.Draw(sheet).text((120, 60), chr(code), 255, ImageFont.truetype(str(font_path(font)), 240))
    box = sheet.getbbox()
    if box is None:
        return None
    scale = BOX / max(box[2] - box[0], box[3] - box[1])
    size = (max(1, round((box[2] - box[0]) * scale)), max(1, round((box[3] - box[1]) * scale)))
    small = sheet.crop(box).resize(size, Image.Resampling.LANCZOS)
    canvas = Image.new("L", (FINE, FINE))
    canvas.paste(small, ((FINE - size[0]) // 2, (FINE - size[1]) // 2))
    return np.asarray(canvas) > 100


def thin(shapes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin shapes ``[n, H, W]`` to lines one pixel wide (Zhang and Suen 1984)."""
    shapes = shapes.copy()
    changed = True
    while changed:
        changed = False
        for corner in (0, 1):
            padded = np.pad(shapes, ((0, 0), (1, 1), (1, 1)))
            around = [  # the eight neighbours, clockwise from the north
                padded[:, 1 + dy : 1 + dy + FINE, 1 + dx : 1 + dx + FINE]
                for dy, dx in ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
            ]
            north, east, south, west = around[::2]
            count = sum(n.astype(np.uint8) for n in around)
            pairs = zip(around, [*around[1:], around[0]], strict=True)
            rises = sum((~a & b).astype(np.uint8) for a, b in pairs)
            open_side = ~(east & south & (north | west)) if corner == 0 else ~(north & west & (east | south))
            remove = shapes & (count >= 2) & (count <= 6) & (rises == 1) & open_side
            shapes &= ~remove
            changed |= bool(remove.any())
    return shapes


def points_of(line: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the points of a thin line, ``[n, 2]`` as (x, y) in [-1, 1]."""
    y, x = np.nonzero(line)
    return np.stack([x, y], axis=1) / (FINE / 2) - 1


def draw(points: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """Draw points of [-1, 1] with a round pen on the fine canvas and return them at ``SIZE``."""
    reach = np.arange(-6, 7)
    dx, dy = (offset.ravel() for offset in np.meshgrid(reach, reach))
    inside = dx**2 + dy**2 <= radius**2
    centre = np.rint((points + 1) * FINE / 2).astype(int)  # [n, 2]
    x = centre[:, :1] + dx[inside]  # [n, pen]
    y = centre[:, 1:] + dy[inside]
    within = (x >= 0) & (x < FINE) & (y >= 0) & (y < FINE)
    canvas = np.zeros((FINE, FINE))
    canvas[y[within], x[within]] = 1
    return canvas.reshape(SIZE, 4, SIZE, 4).mean(axis=(1, 3)) > 0.5


def hands(character: Character) -> NDArray[np.bool_]:
    """Return the character in ``N_IMAGES`` hands, ``[N_IMAGES, SIZE, SIZE]``."""
    rng = np.random.default_rng([SEED, character.code])
    waves = np.array([(i, j) for i in range(3) for j in range(3) if i + j])  # [8, 2]
    phase = np.cos(np.pi * waves[None] * (character.line[:, None] + 1) / 2)  # [n, 8, 2]
    basis = phase.prod(axis=2)  # [n, 8]
    images = []
    for _ in range(N_IMAGES):
        turn, slant = rng.normal(0, 0.09), rng.normal(0, 0.12)
        affine = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        affine = affine @ np.array([[1, slant], [0, 1]]) @ np.diag(np.exp(rng.normal(0, [0.11, 0.09])))
        bend = rng.normal(0, 0.07, size=(8, 2)) / waves.sum(axis=1, keepdims=True)
        points = character.line @ affine.T + basis @ bend
        images.append(draw(points - points.mean(axis=0) + shift(character, rng), rng.uniform(*PEN)))
    return np.stack(images)


def shift(character: Character, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the centre for the character's line, near its original place."""
    return character.line.mean(axis=0) + rng.uniform(-0.1, 0.1, size=2)


def centre_lines() -> list[Character]:
    """Return every candidate whose line is long enough, in order."""
    drawn = [(code, name, shape) for code, name, font in candidates() if (shape := render(code, font)) is not None]
    characters = []
    for first in range(0, len(drawn), 100):
        chunk = drawn[first : first + 100]
        for (code, name, _), line in zip(chunk, thin(np.stack([shape for _, _, shape in chunk])), strict=True):
            points = points_of(line)
            if len(points) >= SHORTEST:
                characters.append(Character(code, name, points))
    return characters


def drop_look_alikes(characters: list[Character]) -> list[Character]:
    """Keep a character only if no earlier character looks like it, upright or after a quarter turn."""
    kept: list[Character] = []
    seen = np.empty((0, SIZE * SIZE))
    for character in characters:
        blurred = blur(draw(character.line, 4.0))
        if not len(seen) or (seen @ blurred.ravel()).max() < LOOK_ALIKE:
            kept.append(character)
            turned = np.stack([np.rot90(blurred, k).ravel() for k in range(4)])
            seen = np.concatenate([seen, turned])
    return kept


def blur(picture: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the picture blurred, with mean 0 and length 1."""
    image = Image.fromarray(picture.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.7))
    pixels = np.asarray(image, dtype=np.float64)
    pixels = pixels - pixels.mean()
    return pixels / np.linalg.norm(pixels)


def split_of(n_classes: int) -> NDArray[np.uint8]:
    """Return 0 (train), 1 (val) or 2 (test) for each class, in a seeded order."""
    order = np.random.default_rng(SEED).permutation(n_classes)
    cuts = np.rint(np.cumsum(SHARES) * n_classes).astype(int)
    split = np.empty(n_classes, dtype=np.uint8)
    for number, part in enumerate(np.split(order, cuts)):
        split[part] = number
    return split


def main() -> None:
    """Write glyphs.npz and glyphs.png beside this script."""
    characters = drop_look_alikes(centre_lines())
    images = np.stack([hands(character) for character in characters])  # [n, 20, 28, 28]
    names = [character.name for character in characters]
    np.savez_compressed(
        HERE / "glyphs.npz",
        bits=np.packbits(images.reshape(len(names), N_IMAGES, -1), axis=-1),
        names=np.frombuffer("\n".join(names).encode(), dtype=np.uint8),
        split=split_of(len(names)),
        built_with=np.frombuffer(VERSIONS.encode(), dtype=np.uint8),
    )
    draw_contact_sheet(images, names).save(HERE / "glyphs.png", optimize=True)
    print(f"{len(names)} classes, {len(names) * N_IMAGES} images, {(HERE / 'glyphs.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
