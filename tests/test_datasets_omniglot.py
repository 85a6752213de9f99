"""Omniglot: the real one exactly, and small forged archives for all that can be wrong with one."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mamlkit.core.errors import InputError
from mamlkit.datasets import ImageStore, load
from mamlkit.datasets import omniglot as module

BACKGROUND, EVALUATION = module.ARCHIVES
Members = dict[str, bytes]


def drawing(x: int) -> bytes:
    """Return a 1-bit PNG of 105x105 like Omniglot's: a black stroke on white."""
    image = Image.new("1", (105, 105), 1)
    ImageDraw.Draw(image).line((x, 20, x, 80), fill=0, width=3)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def members(folder: str, alphabet: str) -> Members:
    names = [f"{folder}/{alphabet}/character0{c}/000{c}_0{i}.png" for c in (1, 2) for i in (1, 2, 3)]
    return {name: drawing(20 + 10 * number) for number, name in enumerate(names)}


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes two small archives with some members changed, and makes them the published ones."""
    monkeypatch.setenv("MAMLKIT_DATA", str(tmp_path / "data"))

    def write(changes: Members | None = None, *, publish: bool = True, folder: str = "data/omniglot") -> Path:
        root = tmp_path / folder
        root.mkdir(parents=True, exist_ok=True)
        background = {**members("images_background", "Runes"), **(changes or {})}
        for name, content in ((BACKGROUND, background), (EVALUATION, members("images_evaluation", "Angelic"))):
            with zipfile.ZipFile(root / name, "w", zipfile.ZIP_DEFLATED) as archive:
                for member, data in content.items():
                    archive.writestr(member, data)
            if publish:
                monkeypatch.setitem(module.ARCHIVES, name, hashlib.sha256((root / name).read_bytes()).hexdigest())
        return root

    return write


def cached_files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def test_the_split_is_that_of_the_authors_code() -> None:
    splits = module.split_classes(1623)
    assert {name: len(classes) for name, classes in splits.items()} == {"train": 1150, "val": 50, "test": 423}
    assert splits["train"][:5].tolist() == [1245, 1193, 652, 204, 909]
    assert splits["val"][:5].tolist() == [88, 1243, 1258, 109, 452]
    assert splits["test"][:5].tolist() == [1394, 742, 245, 1071, 832]
    assert sorted(np.concatenate(list(splits.values()))) == list(range(1623))


def test_the_real_omniglot_is_whole(omniglot: ImageStore) -> None:
    assert omniglot.images.shape == (32460, 28, 28)
    assert omniglot.images.dtype == np.uint8
    assert np.array_equal(omniglot.offsets, np.arange(1624) * 20)
    assert list(omniglot.class_names) == sorted(set(omniglot.class_names))
    assert omniglot.class_names[0] == "Alphabet_of_the_Magi/character01"
    assert len({name.split("/")[0] for name in omniglot.class_names}) == 50
    assert omniglot.splits["train"][:5].tolist() == [1245, 1193, 652, 204, 909]
    assert omniglot.splits["val"][:5].tolist() == [88, 1243, 1258, 109, 452]
    assert omniglot.splits["test"][:5].tolist() == [1394, 742, 245, 1071, 832]


def test_real_ink_is_bright_on_black_and_antialiased(omniglot: ImageStore) -> None:
    assert np.median(omniglot.images) == 0
    assert 0.03 < omniglot.images.mean() / 255 < 0.12
    assert omniglot.images[:1000].max(axis=(1, 2)).min() > 100
    assert len(np.unique(omniglot.images[:100])) > 100


def test_an_image_is_the_archives_image_inverted_and_shrunk(omniglot: ImageStore, omniglot_root: Path) -> None:
    index = omniglot.class_names.index("Tifinagh/character55")
    with zipfile.ZipFile(omniglot_root / BACKGROUND) as archive:
        content = archive.read("images_background/Tifinagh/character55/0964_07.png")
    ink = 255 - np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(float)
    blocks = np.add.reduceat(np.add.reduceat(ink[:104, :104], range(0, 104, 26)), range(0, 104, 26), axis=1)
    stored = omniglot.class_images(index)[6].astype(float).reshape(4, 7, 4, 7).sum(axis=(1, 3))
    assert np.corrcoef(blocks.ravel(), stored.ravel())[0, 1] > 0.98


@pytest.mark.usefixtures("omniglot")
def test_opening_the_built_omniglot_decodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "_build")
    assert len(load("omniglot").images) == 32_460


def test_a_second_opening_reads_the_cache_and_does_not_build(
    forge: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    forge()
    first = load("omniglot", image_size=21).images
    monkeypatch.delattr(module, "_build")
    assert np.array_equal(first, load("omniglot", image_size=21).images)


def test_forged_archives_are_read_in_order(forge: Callable[..., Path]) -> None:
    forge()
    store = load("omniglot", image_size=21)
    assert store.class_names == ("Angelic/character01", "Angelic/character02", "Runes/character01", "Runes/character02")
    assert store.images.shape == (12, 21, 21)
    assert store.offsets.tolist() == [0, 3, 6, 9, 12]
    columns = store.images[6:].sum(axis=1).argmax(axis=1)  # the strokes move to the right, image by image
    assert np.array_equal(columns, np.arange(20, 80, 10) // 5)


def test_sizes_have_caches_of_their_own(forge: Callable[..., Path], own_cache: Path) -> None:
    forge()
    assert load("omniglot", image_size=20).images.shape[1] == 20
    assert load("omniglot", image_size=30).images.shape[1] == 30
    assert len(cached_files(own_cache)) == 4


def test_a_changed_archive_is_noticed(forge: Callable[..., Path]) -> None:
    root = forge()
    first = load("omniglot").sha256
    forge({"images_background/Runes/character03/0003_01.png": drawing(50)})
    assert (root / BACKGROUND).is_file()
    assert len(load("omniglot").class_names) == 5
    assert load("omniglot").sha256 != first


@pytest.mark.parametrize("name", ["../../evil.png", "/evil.png", "images\\..\\..\\evil.png", "C:evil.png"])
def test_a_member_that_leaves_the_folder_is_refused(forge: Callable[..., Path], own_cache: Path, name: str) -> None:
    root = forge({name: drawing(50)})
    with pytest.raises(InputError, match="that leaves the archive's folder") as caught:
        load("omniglot")
    assert str(root / BACKGROUND) in str(caught.value)
    assert repr(name) in str(caught.value)
    assert cached_files(own_cache) == []


def test_a_member_that_does_not_decode_is_named(forge: Callable[..., Path], own_cache: Path) -> None:
    name = "images_background/Runes/character02/0002_02.png"
    root = forge({name: b"not a picture"})
    with pytest.raises(InputError) as caught:
        load("omniglot")
    assert f"{name} in {root / BACKGROUND} does not decode as an image" in str(caught.value)
    assert cached_files(own_cache) == []


def test_a_truncated_picture_is_named(forge: Callable[..., Path], own_cache: Path) -> None:
    name = "images_background/Runes/character02/0002_02.png"
    forge({name: drawing(50)[:-40]})
    with pytest.raises(InputError, match=f"{name} in .* does not decode as an image"):
        load("omniglot")
    assert cached_files(own_cache) == []


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_archive_is_refused(forge: Callable[..., Path], own_cache: Path, kept: float) -> None:
    path = forge() / EVALUATION
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match="cannot be read as a zip archive") as caught:
        load("omniglot")
    assert str(path) in str(caught.value)
    assert cached_files(own_cache) == []


@pytest.mark.parametrize(
    ("start", "damage"),
    [(0, b"\xff" * 4), (60, bytes(10)), (79, b"\xff" * 4), (14 + 79, b"\x5a")],
    ids=["header", "name", "compression", "content"],
)
def test_a_corrupt_member_is_refused(start: int, damage: bytes, forge: Callable[..., Path], own_cache: Path) -> None:
    path = forge() / EVALUATION
    content = bytearray(path.read_bytes())
    content[start : start + len(damage)] = damage  # the first member's header is 79 bytes, then come its data
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"images_evaluation\.zip cannot be read as a zip archive"):
        load("omniglot")
    assert cached_files(own_cache) == []


def test_an_archive_that_is_not_the_published_one_is_refused(forge: Callable[..., Path], own_cache: Path) -> None:
    root = forge(publish=False)
    with pytest.raises(InputError, match="but the published archive has 0d62fd2d") as caught:
        load("omniglot")
    assert f"{root / BACKGROUND} has SHA-256" in str(caught.value)
    assert cached_files(own_cache) == []


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder on this computer in place of the upstream site."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(module, "URL", f"http://127.0.0.1:{httpd.server_port}/")
        yield folder
        httpd.shutdown()
        thread.join()


def test_absent_archives_are_downloaded_once(forge: Callable[..., Path], server: Path, own_cache: Path) -> None:
    forge(folder=server.name)
    assert len(load("omniglot").images) == 12
    assert sorted(path.name for path in (own_cache / "omniglot").iterdir()) == sorted(module.ARCHIVES)
    for path in server.iterdir():
        path.unlink()
    assert len(load("omniglot").images) == 12


def test_a_download_that_is_not_the_published_file_is_refused(
    forge: Callable[..., Path], server: Path, own_cache: Path
) -> None:
    forge(folder=server.name, publish=False)
    with pytest.raises(InputError, match="differs from the published archive"):
        load("omniglot")
    assert cached_files(own_cache) == []


@pytest.mark.usefixtures("forge", "server")
def test_a_download_that_fails_says_where_the_file_may_be_put(own_cache: Path) -> None:
    with pytest.raises(InputError, match=r"cannot download http://.*images_background\.zip .*put the file into"):
        load("omniglot")
    assert cached_files(own_cache) == []
