"""How the images of SRC are listed, grouped and refused."""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st
from PIL import Image

from sdclient.manifest.tables import CROPS_COLUMNS, MAPPING_COLUMNS, CropRow, MappingRow, write_crops
from sdclient.sources.numbering import number_images
from trainer.cli import cli
from trainer.data.source_images import GroupBy, PhotoTables, group_images, join_equal, read_photo_tables
from trainer.data.split import split
from trainer.errors import SplitError


def test_generated_images_are_refused_by_their_chunk(
    photos: Path, tmp_path: Path, make_generated: Callable[..., Path]
) -> None:
    output = make_generated([("划痕", photos / "划痕" / "1.png")])
    for name in ("1_1.png", "1_2.png"):
        shutil.copy(output / "划痕" / name, photos / "划痕" / name)
    with pytest.raises(
        SplitError, match=r"1_1\.png: a generated image, by its text chunk 'sdclient' \(2 such image"
    ) as caught:
        split(photos, tmp_path / "data")
    assert "trainer train DATA --generated OUTPUT" in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_generated_images_are_refused_by_a_manifest_in_the_source(
    photos: Path, tmp_path: Path, make_generated: Callable[..., Path]
) -> None:
    output = make_generated([("划痕", photos / "划痕" / "1.png")], name="照片/划痕/output")
    for path in output.rglob("*.png"):
        with Image.open(path) as image:
            plain = image.convert("RGB")
        plain.info.clear()
        plain.save(path)  # as another program would, without the chunk
    with pytest.raises(SplitError, match=r"as a record in .*output says \(2 such .*--generated .*output'"):
        split(photos, tmp_path / "data")
    (output / "manifest.sqlite").write_bytes(b"nothing" * 1000)
    with pytest.raises(SplitError, match=r"manifest\.sqlite.*; or take it out of .*照片"):
        split(photos, tmp_path / "data")


def write_crops_of(photos: Path, per_photo: int, dest: Path) -> None:
    """A `crops.csv` by which the images of each class were cut, so many from one photograph."""
    rows = []
    for path in photos.rglob("*.png"):
        name, label = path.relative_to(photos).as_posix(), path.parent.name
        photo = f"{label}/板{(int(path.stem) - 1) // per_photo}.jpg"
        rows.append(crop_row(name, photo, hashlib.sha256(photo.encode()).hexdigest()))
    write_crops(dest, rows)


def crop_row(crop: str, photo: str, photo_sha256: str) -> CropRow:
    return CropRow(crop, crop.partition("/")[0], photo, photo_sha256, 0, 0, 64, 64, None, None, None, None)


def test_crops_of_one_photograph_stay_together_by_default(photos: Path, tmp_path: Path) -> None:
    write_crops_of(photos, 3, photos / "crops.csv")
    result = split(photos, tmp_path / "data")
    parts = defaultdict(set)
    for row in result.rows:
        parts[row.group].add(row.part)
    assert sorted(parts) == sorted(f"{label}/板{k}.jpg" for label in ("Normal", "dirt", "划痕") for k in range(4))
    assert all(len(found) == 1 for found in parts.values())
    assert result.grouping == f"12 (photograph, by {photos / 'crops.csv'}: 36 crops of 12)"
    by_pattern = split(photos, tmp_path / "other", group_by=GroupBy(pattern="(.+)"))
    assert len({row.group for row in by_pattern.rows}) == 12  # file names, the same in each class
    assert by_pattern.notes == (f"{photos / 'crops.csv'} is not used: the groups are named by a pattern",)


def test_numbered_crops_stay_together_by_both_tables(photos: Path, tmp_path: Path) -> None:
    write_crops_of(photos, 3, tmp_path / "crops.csv")
    sources = tmp_path / "sources"
    number_images(photos, sources)
    assert "by --crops" in split(sources, tmp_path / "alone").notes[0]
    command = ["split", str(sources), str(tmp_path / "data"), "--crops", str(tmp_path / "crops.csv")]
    done = CliRunner().invoke(cli, command)
    assert "12 (photograph" in done.stdout, done.output
    shutil.copy(tmp_path / "crops.csv", sources)
    split(sources, tmp_path / "both")
    assert (tmp_path / "both" / "split.csv").read_bytes() == (tmp_path / "data" / "split.csv").read_bytes()
    assert CliRunner().invoke(cli, [*command, "--group-by", "(.)"]).exit_code == 2
    write_crops(tmp_path / "other.csv", [crop_row("dirt/99.png", "a.jpg", "aa")])
    with pytest.raises(SplitError, match=r"other\.csv: names none of the images of .*sources"):
        split(sources, tmp_path / "none", group_by=GroupBy(crops=tmp_path / "other.csv"))
    shutil.copy(photos / "dirt" / "5.png", sources / "dirt" / "1.png")
    with pytest.raises(SplitError, match=r"1\.png: other bytes than the dirt/1\.png that .*mapping\.csv records"):
        split(sources, tmp_path / "changed")


def test_blank_images_do_not_tie_all_photographs_together(photos: Path, tmp_path: Path) -> None:
    for k in range(1, 13, 3):
        Image.new("L", (32, 32), 0).save(photos / "Normal" / f"{k}.png")
    write_crops_of(photos, 3, photos / "crops.csv")
    result = split(photos, tmp_path / "data")
    assert len({row.group for row in result.rows}) == 12
    assert result.notes == ("4 identical images of a single colour lie in several groups and were left there",)


def test_too_few_groups_are_refused_before_the_images_are_read(photos: Path, tmp_path: Path) -> None:
    (photos / "dirt" / "3.png").write_bytes(b"no image")
    with pytest.raises(SplitError, match=r"class 'Normal': 1 group\(s\)"):
        split(photos, tmp_path / "data", group_by=GroupBy(pattern=r"\.(png)$"))


def test_groups_that_identical_images_make_too_few_are_explained(photos: Path, tmp_path: Path) -> None:
    for path in (photos / "划痕").glob("*.png"):
        if path.name != "1.png":
            shutil.copy(photos / "划痕" / "1.png", path)
    with pytest.raises(SplitError, match=r"class '划痕': 1 group\(s\) .*12 images.*identical pixels are one group\)"):
        split(photos, tmp_path / "data")


def test_a_folder_that_is_divided_already_is_refused(photos: Path, tmp_path: Path) -> None:
    split(photos, tmp_path / "data")
    with pytest.raises(SplitError, match="it is divided already; expected one folder per class"):
        split(tmp_path / "data", tmp_path / "again")
    split(photos, tmp_path / "two", test_share=0)
    with pytest.raises(SplitError, match="divided already"):
        split(tmp_path / "two", tmp_path / "again")


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([None, "1", "2", "3", "4"])), max_size=12))
def test_joined_groups_are_the_connected_ones(rows: list[tuple[str, str | None]]) -> None:
    groups, keys = [group for group, _ in rows], [key for _, key in rows]
    joined = join_equal(groups, keys, names=[str(k) for k in range(len(rows))])
    # Independently: spread each image's reach along shared groups and keys until nothing changes.
    reach = [{k} for k in range(len(rows))]
    for _ in rows:
        for one in range(len(rows)):
            for other in range(len(rows)):
                if groups[one] == groups[other] or (keys[one] is not None and keys[one] == keys[other]):
                    reach[one] |= reach[other]
    for one in range(len(rows)):
        for other in range(len(rows)):
            assert (joined[one] == joined[other]) is (other in reach[one])
        assert joined[one] == min(groups[other] for other in reach[one])


def test_without_a_rule_each_image_is_a_group() -> None:
    grouping = group_images(["划痕/1.png", "Normal/1.png"], GroupBy(), PhotoTables())
    assert grouping.groups == ("划痕/1.png", "Normal/1.png")
    assert (grouping.basis, grouping.notes) == ("each image by itself", ())
    assert group_images([], GroupBy(), PhotoTables()).groups == ()


def test_crops_of_one_photograph_are_one_group_across_classes_and_names() -> None:
    tables = PhotoTables(
        crops_path=Path("crops.csv"),
        crops={
            crop: crop_row(crop, photo, photo_sha256)
            for crop, photo, photo_sha256 in (
                ("划痕/a_1.png", "板1.jpg", "aa"),
                ("Normal/a_2.png", "板1.jpg", "aa"),
                ("Normal/b_1.png", "copy of 板1.jpg", "aa"),
                ("Normal/c_1.png", "板2.jpg", "bb"),
            )
        },
    )
    grouping = group_images([*tables.crops, "Normal/other.png"], GroupBy(), tables)
    assert grouping.groups == ("copy of 板1.jpg",) * 3 + ("板2.jpg", "Normal/other.png")
    assert grouping.basis == "photograph, by crops.csv: 4 crops of 2"
    assert grouping.notes == ("1 of 5 images are not in crops.csv: each stands by itself",)


def test_a_pattern_or_a_table_wins_over_photographs_with_a_note(tmp_path: Path) -> None:
    tables = PhotoTables(
        Path("crops.csv"), crops={name: crop_row(name, "p", "aa") for name in ("d/a_1.png", "d/a_2.png")}
    )
    by_pattern = group_images(["d/a_1.png", "d/a_2.png"], GroupBy(pattern="_([0-9])"), tables)
    assert by_pattern.groups == ("1", "2")
    assert by_pattern.notes == ("crops.csv is not used: the groups are named by a pattern",)
    (tmp_path / "g.csv").write_text("file,group\nd\\a_1.png,x\nd/a_2.png,y\n", encoding="utf-8")
    by_table = group_images(["d/a_1.png", "d/a_2.png"], GroupBy(table=tmp_path / "g.csv"), tables)
    assert by_table.groups == ("x", "y")
    assert by_table.notes == ("crops.csv is not used: the groups are named by a table",)
    with pytest.raises(SplitError, match="expected one of them"):
        group_images([], GroupBy(pattern="(.)", table=tmp_path / "g.csv"), PhotoTables())


def test_a_pattern_is_searched_in_the_names_before_numbering() -> None:
    tables = PhotoTables(None, Path("mapping.csv"), numbered={"d/1.png": MappingRow("d", "板7_x.png", "1.png", "aa")})
    grouping = group_images(["d/1.png", "d/板8_y.png"], GroupBy(pattern="^(板[0-9])_"), tables)
    assert grouping.groups == ("板7", "板8")
    assert grouping.notes == ("the pattern was searched in the names that 1 image(s) had before numbering",)
    with pytest.raises(SplitError, match=r"d/1\.png \(numbered from d/板7_x\.png\): the group pattern"):
        group_images(["d/1.png"], GroupBy(pattern="(board)"), tables)


MAPPING = ",".join(MAPPING_COLUMNS) + "\n"
CROPS = ",".join(CROPS_COLUMNS) + "\n"
TWO_PHOTOS = CROPS + "d/1.png,d,p,aa,0,0,8,8,,,,\nd/1.png,d,q,bb,0,0,8,8,,,,\n"


def test_a_folder_without_tables_names_no_groups(tmp_path: Path) -> None:
    tables = read_photo_tables(tmp_path)
    assert (tables.crops_path, tables.mapping_path, tables.notes) == (None, None, ())
    assert tables.crop_of("划痕/1.png") is None
    assert tables.former_name("划痕/1.png") == "划痕/1.png"


def test_a_numbered_crop_still_finds_its_photograph(tmp_path: Path) -> None:
    rows = [crop_row(f"划痕/板_{k}.png", "上/板.jpg", "5e" * 32) for k in (1, 2)]
    write_crops(tmp_path / "crops.csv", rows)
    (tmp_path / "mapping.csv").write_text(MAPPING + "划痕,板_2.png,7.png,aa\n", encoding="utf-8-sig")
    tables = read_photo_tables(tmp_path)
    assert tables.former_name("划痕/7.png") == "划痕/板_2.png"
    assert tables.crop_of("划痕/7.png") == rows[1]
    assert tables.notes == ()
    (tmp_path / "crops.csv").rename(tmp_path / "elsewhere.csv")
    assert "by --crops" in read_photo_tables(tmp_path).notes[0]
    assert read_photo_tables(tmp_path, tmp_path / "elsewhere.csv").crop_of("划痕/7.png") is not None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mapping.csv", b"", "line 1: expected the columns class, old_name"),
        ("mapping.csv", b"class,old_name\na,b\n", "line 1: expected the columns"),
        ("mapping.csv", MAPPING.encode() + b"dirt,a.png,1.png,\n", "line 2: .*expected class, old_name"),
        ("mapping.csv", MAPPING.encode() + b"dirt,a.png\n", "line 2: .*expected class"),
        ("crops.csv", b"\xff\xfe\x00", "not a table that 'sdclient crop' wrote"),
        ("crops.csv", CROPS.encode() + b'"dirt/a.png', "not a table that 'sdclient crop' wrote"),
        ("crops.csv", TWO_PHOTOS.encode(), "line 3: 'd/1.png' is from 'p' already"),
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
    assert tables.crop_of("d/1.png") is None


def test_a_named_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"nowhere\.csv: no such file; expected a table that 'sdclient crop' wrote"):
        read_photo_tables(tmp_path, tmp_path / "nowhere.csv")
