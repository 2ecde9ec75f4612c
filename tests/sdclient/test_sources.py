"""Numbered folders are walked right, and what is wrong with them is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sdclient.errors import SourceError
from sdclient.sources import discover
from sdclient.sources.source import names_by_class, oversized, oversized_warning


def put(folder: Path, *names: str, size: tuple[int, int] = (8, 8)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)


def test_classes_and_numbers_come_in_natural_order_over_gaps(tmp_path: Path) -> None:
    put(tmp_path / "c10", "1.png")
    put(tmp_path / "c9", "10.png", "9.jpg", "2.PNG", "007.bmp")
    put(tmp_path / "漏铜", "3.webp")
    (tmp_path / "c9" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "c9" / "2.txt").write_text("a box file", encoding="utf-8")
    (tmp_path / "mapping.csv").write_text("x", encoding="utf-8")
    found = discover(tmp_path)
    assert [source.relative for source in found] == [
        "c9/2.PNG",
        "c9/007.bmp",
        "c9/9.jpg",
        "c9/10.png",
        "c10/1.png",
        "漏铜/3.webp",
    ]
    assert [source.number for source in found] == [2, 7, 9, 10, 1, 3]
    assert found[0].path == tmp_path / "c9" / "2.PNG"
    assert found[0].name == "2.PNG"
    assert list(names_by_class(found)) == ["c9", "c10", "漏铜"]
    assert names_by_class(found)["c9"] == ["2.PNG", "007.bmp", "9.jpg", "10.png"]


def test_no_class_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no class folder"):
        discover(tmp_path)


def test_an_image_outside_the_class_folders_is_named(tmp_path: Path) -> None:
    put(tmp_path / "dirt", "1.png")
    put(tmp_path, "5.png")
    with pytest.raises(SourceError, match=r"5\.png: an image outside any class folder"):
        discover(tmp_path)


@pytest.mark.parametrize("leftover", [None, ".DS_Store", "notes.txt"])
def test_an_empty_class_is_named(tmp_path: Path, leftover: str | None) -> None:
    put(tmp_path / "dirt", "1.png")
    put(tmp_path / "oxidation")
    if leftover:
        (tmp_path / "oxidation" / leftover).write_bytes(b"x")
    with pytest.raises(SourceError, match="oxidation: no image in this class folder"):
        discover(tmp_path)


@pytest.mark.parametrize("name", ["IMG_7.png", "1a.png", "-1.png", "1.5.png", "²3.png", "１.png"])
def test_a_file_that_is_not_numbered_sends_to_number(tmp_path: Path, name: str) -> None:
    put(tmp_path / "dirt", "1.png", name)
    with pytest.raises(SourceError, match=r"not numbered.*sdclient number"):
        discover(tmp_path)


@pytest.mark.parametrize("twin", ["1.jpg", "01.png"])
def test_two_files_with_one_number_are_named(tmp_path: Path, twin: str) -> None:
    put(tmp_path / "dirt", "1.png", twin)
    with pytest.raises(SourceError, match="same number") as caught:
        discover(tmp_path)
    assert "1.png" in str(caught.value)
    assert twin in str(caught.value)


def test_a_source_that_is_no_image_is_named(tmp_path: Path) -> None:
    put(tmp_path / "dirt", "1.png")
    (tmp_path / "dirt" / "2.png").write_bytes(b"GIMP")
    with pytest.raises(SourceError, match=r"2\.png: not an image"):
        discover(tmp_path)


def test_sources_over_the_native_area_are_found_and_said_in_one_line(tmp_path: Path) -> None:
    put(tmp_path / "dirt", "1.png", size=(512, 512))
    put(tmp_path / "dirt", "2.png", size=(1024, 256))
    put(tmp_path / "dirt", "3.png", size=(513, 512))
    put(tmp_path / "dirt", "4.png", size=(2000, 1500))
    found = oversized(discover(tmp_path))
    assert [(item.source.name, item.width_px, item.height_px) for item in found] == [
        ("3.png", 513, 512),
        ("4.png", 2000, 1500),
    ]
    warning = oversized_warning(found)
    assert warning is not None
    assert "2 sources" in warning
    assert "dirt/4.png, 2000 x 1500" in warning
    assert "sdclient crop" in warning
    assert "\n" not in warning
    assert [item.source.name for item in oversized(discover(tmp_path), 1024)] == ["4.png"]
    assert oversized_warning([]) is None
