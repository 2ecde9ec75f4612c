from __future__ import annotations

from pathlib import Path

import pytest

from sdclient.manifest.tables import CROPS_COLUMNS, CROPS_NAME, MAPPING_COLUMNS, CropRow, write_crops
from sdclient.sources.numbering import MAPPING_NAME
from trainer.data import source_images
from trainer.data.source_images import Photo, read_photo_tables
from trainer.errors import SplitError

MAPPING = "class,old_name,new_name,sha256\n"
CROPS = "crop,photo,photo_sha256\n"


def test_the_names_and_columns_are_those_that_sdclient_writes() -> None:
    assert source_images.CROPS_NAME == CROPS_NAME
    assert source_images.MAPPING_NAME == MAPPING_NAME
    assert set(source_images._CROPS_COLUMNS) <= set(CROPS_COLUMNS)
    assert set(source_images._MAPPING_COLUMNS) <= set(MAPPING_COLUMNS)


def test_a_folder_without_tables_tells_nothing(tmp_path: Path) -> None:
    tables = read_photo_tables(tmp_path)
    assert (tables.crops_path, tables.mapping_path, tables.notes) == (None, None, ())
    assert tables.photo_of("划痕/1.png") is None
    assert tables.former_name("划痕/1.png") == "划痕/1.png"


def test_a_numbered_crop_still_finds_its_photograph(tmp_path: Path) -> None:
    rows = [
        CropRow(f"划痕/板_{k}.png", "划痕", "上/板.jpg", "5e" * 32, 0, 0, 64, 64, None, None, None, None)
        for k in (1, 2)
    ]
    write_crops(tmp_path / "crops.csv", rows)
    (tmp_path / "mapping.csv").write_text(MAPPING + "划痕,板_2.png,7.png,aa\n", encoding="utf-8-sig")
    tables = read_photo_tables(tmp_path)
    assert tables.former_name("划痕/7.png") == "划痕/板_2.png"
    assert tables.photo_of("划痕/7.png") == Photo("上/板.jpg", "5e" * 32)
    assert tables.notes == ()
    (tmp_path / "crops.csv").rename(tmp_path / "elsewhere.csv")
    assert "by --crops" in read_photo_tables(tmp_path).notes[0]
    assert read_photo_tables(tmp_path, tmp_path / "elsewhere.csv").photo_of("划痕/7.png") is not None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mapping.csv", b"", "line 1: expected the columns class, old_name"),
        ("mapping.csv", b"class,old_name\na,b\n", "line 1: expected the columns"),
        ("mapping.csv", MAPPING.encode() + b"dirt,a.png,1.png,\n", "line 2: expected class, old_name, .* filled"),
        ("mapping.csv", MAPPING.encode() + b"dirt,a.png\n", "line 2: expected class"),
        ("crops.csv", b"\xff\xfe\x00", "not a table that 'sdclient crop' wrote"),
        ("crops.csv", CROPS.encode() + b'"dirt/a.png', "not a table that 'sdclient crop' wrote"),
        ("crops.csv", CROPS.encode() + b"d/1.png,p,aa\nd/1.png,q,bb\n", "line 3: 'd/1.png' is from 'p' already"),
    ],
)
def test_a_damaged_table_is_refused_with_its_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SplitError, match=rf"{name}.*{words}"):
        read_photo_tables(tmp_path)


def test_a_table_of_a_header_alone_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "crops.csv").write_text(CROPS, encoding="utf-8")
    tables = read_photo_tables(tmp_path)
    assert tables.crops_path == tmp_path / "crops.csv"
    assert tables.photo_of("d/1.png") is None


def test_a_named_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"nowhere\.csv: no such file; expected a table that 'sdclient crop' wrote"):
        read_photo_tables(tmp_path, tmp_path / "nowhere.csv")
