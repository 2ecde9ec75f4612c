"""Which files count, in which order, and what is said of broken ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from sdclient.errors import OutputError, SourceError
from sdclient.sources.source import check_destination, huge_image_size, image_size, read_photo


@pytest.mark.parametrize(("orientation", "size"), [(1, (30, 20)), (3, (30, 20)), (6, (20, 30)), (8, (20, 30))])
def test_the_size_and_the_picture_are_those_of_the_upright_photo(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert image_size(path) == size
    assert read_photo(path).size == size


def test_looking_at_the_size_decodes_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    noise((300, 200)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    assert image_size(path) == (300, 200)
    with pytest.raises(SourceError, match="truncated"):
        read_photo(path)


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("L", size, random.Random(1).randbytes(size[0] * size[1]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_what_is_no_image_is_said_to_be_so(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(content)
    for look in (image_size, huge_image_size, read_photo):
        with pytest.raises(SourceError, match=rf"1\.png: {words}"):
            look(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_a_truncated_file_of_any_format_is_damaged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"1.{suffix}"
    noise((64, 64)).convert("RGB").save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(SourceError, match=rf"1\.{suffix}: .*(damaged|truncated|not an image)"):
        read_photo(path)


def test_every_flipped_byte_ends_in_words_or_in_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "1.tif"
    noise((8, 8)).save(path, compression="tiff_deflate")
    content = path.read_bytes()
    failures = 0
    for index in range(len(content)):
        path.write_bytes(content[:index] + bytes([content[index] ^ 0xFF]) + content[index + 1 :])
        try:
            read_photo(path)
        except SourceError:
            failures += 1
    assert failures > 5


def test_far_too_many_pixels_are_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.png"
    Image.new("1", (40, 40)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(SourceError, match=r"1\.png: too many pixels .*sdclient crop"):
        image_size(path)
    assert huge_image_size(path) == (40, 40)
    assert read_photo(path, refuse_huge=False).size == (40, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SourceError, match="too many pixels"):
        huge_image_size(path)


@pytest.mark.parametrize("destination", ["photos", "photos/numbered", "."])
def test_a_destination_that_overlaps_the_source_is_refused(tmp_path: Path, destination: str) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(OutputError, match="overlaps"):
        check_destination(tmp_path / "photos", tmp_path / destination)


def test_a_destination_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "dest").write_bytes(b"")
    with pytest.raises(OutputError, match="dest: is a file"):
        check_destination(tmp_path / "photos", tmp_path / "dest")


def test_a_destination_whose_name_begins_alike_is_fine(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    check_destination(tmp_path / "photos", tmp_path / "photos2")
