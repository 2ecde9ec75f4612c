"""Which files count, and in which order."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from sdclient.errors import OutputError, SourceError
from sdclient.sources.source import check_destination, image_size, read_photo
from sdcore.errors import DataError
from sdcore.images.folders import list_entries, list_images, list_labelled_images, natural_key


def test_ten_comes_after_nine_and_case_does_not_matter() -> None:
    ordered = ["1.png", "2.png", "9.png", "10.png", "a 2.png", "A 10.png", "b.png", "焊盘2", "焊盘10"]
    shuffled = random.Random(0).sample(ordered, len(ordered))
    assert sorted(shuffled, key=natural_key) == ordered


def test_names_that_differ_only_in_zeros_or_case_keep_one_order() -> None:
    for names in (["A.png", "a.png", "01.png", "1.png"], ["1.png", "a.png", "01.png", "A.png"]):
        assert sorted(names, key=natural_key) == ["01.png", "1.png", "A.png", "a.png"]


def test_what_file_managers_leave_behind_is_not_seen(tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", "._1.png", ".hidden.png", "1.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [entry.name for entry in list_entries(tmp_path)] == ["1.png"]


@pytest.mark.parametrize(("kind", "found"), [("missing", "nothing"), ("file", "a file")])
def test_a_folder_that_is_none_is_named(tmp_path: Path, kind: str, found: str) -> None:
    path = tmp_path / "photos"
    if kind == "file":
        path.write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=rf"photos: expected a folder, found {found}"):
        list_entries(path)


def test_natural_order_counts_and_is_total() -> None:
    names = ["10.png", "9.png", "a2b", "a10b", "", "a", "1", "01"]
    ordered = sorted(names, key=natural_key)
    assert ordered == ["", "01", "1", "9.png", "10.png", "a", "a2b", "a10b"]
    assert sorted(sorted(names), key=natural_key) == ordered


def test_listing_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        list_images(tmp_path / "nowhere")


def test_images_below_a_folder_come_in_the_order_of_its_entries(tmp_path: Path) -> None:
    for name in ("b.png", "A10.png", "a2.png", "sub/1.PNG", "notes.txt", ".hidden/1.png", "__MACOSX/1.png", "._1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a2.png", "A10.png", "b.png", "sub/1.PNG"]


def test_a_folder_divided_into_train_and_val_is_refused_where_asked(tmp_path: Path) -> None:
    for name in ("train/1.png", "val/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert [image.label for image in list_labelled_images(tmp_path)] == ["train", "val"]
    with pytest.raises(DataError, match="give the one to learn from"):
        list_labelled_images(tmp_path, refuse_divided=True)


@pytest.mark.parametrize(("orientation", "size"), [(1, (30, 20)), (3, (30, 20)), (6, (20, 30)), (8, (20, 30))])
def test_the_size_and_the_image_are_those_of_the_upright_photo(
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
    for look in (image_size, partial(image_size, refuse_huge=False), read_photo):
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


def test_every_flipped_byte_ends_in_words_or_in_an_image(tmp_path: Path) -> None:
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
    assert image_size(path, refuse_huge=False) == (40, 40)
    assert read_photo(path, refuse_huge=False).size == (40, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SourceError, match="too many pixels"):
        image_size(path, refuse_huge=False)


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
