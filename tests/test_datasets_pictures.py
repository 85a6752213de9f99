"""One picture: every mode that cameras and drawing programs write comes out as it looks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mamlkit.core.errors import InputError
from mamlkit.datasets.pictures import decode, is_colour


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def grey(image: Image.Image, **options: object) -> np.ndarray:
    return decode(saved(image, **options), "x", 8, colour=False, invert=False)


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 8, 16))
    pixels = grey(image)
    assert pixels[:, :3].max() < 40
    assert pixels[:, 5:].min() > 215


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_white_is_white_in_every_mode(mode: str) -> None:
    image = Image.new("RGB", (16, 16), "white").convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert (decode(saved(image, kind), "x", 8, colour=False, invert=False) == 255).all()
    assert (decode(saved(image, kind), "x", 8, colour=True, invert=True) == 0).all()


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    image = Image.fromarray(np.full((16, 16), 128 * 256, dtype=np.uint16))
    assert (grey(image) == 128).all()


def test_a_photo_is_turned_upright() -> None:
    image = Image.new("L", (16, 16))
    image.paste(255, (0, 0, 16, 4))  # bright at the top, but the camera says: turn by 180 degrees
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = decode(saved(image, "JPEG", exif=exif, quality=100), "x", 8, colour=False, invert=False)
    assert pixels[-1].min() > 200
    assert pixels[0].max() < 50


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((80, 80), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(grey(Image.fromarray(stripes)).astype(int) - 127).max() < 12


@pytest.mark.parametrize(("mode", "colour"), [("1", False), ("L", False), ("LA", False), ("RGB", True), ("P", True)])
def test_colour_is_told_from_the_header(mode: str, colour: bool, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").convert(mode).save(tmp_path / "x.png")
    assert is_colour(tmp_path / "x.png") is colour


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"x\.png does not decode as an image"):
        is_colour(tmp_path / "x.png")
