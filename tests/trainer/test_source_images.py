from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.sources.numbering import number_images
from trainer.cli import cli
from trainer.data.source_images import GroupBy
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
        with Image.open(path) as picture:
            plain = picture.convert("RGB")
        plain.info.clear()
        plain.save(path)  # as another program would, without the chunk
    with pytest.raises(SplitError, match=r"as a record in .*output says \(2 such .*--generated .*output'"):
        split(photos, tmp_path / "data")
    (output / "manifest.sqlite").write_bytes(b"nothing" * 1000)
    with pytest.raises(SplitError, match=r"manifest\.sqlite.*; or take it out of .*照片"):
        split(photos, tmp_path / "data")


def write_crops(photos: Path, per_photo: int, dest: Path) -> None:
    """A `crops.csv` by which the pictures of each class were cut, so many from one photograph."""
    lines = ["crop,class,photo,photo_sha256"]
    for path in photos.rglob("*.png"):
        name, label = path.relative_to(photos).as_posix(), path.parent.name
        photo = f"{label}/板{(int(path.stem) - 1) // per_photo}.jpg"
        lines.append(f"{name},{label},{photo},{hashlib.sha256(photo.encode()).hexdigest()}")
    dest.write_text("\n".join(lines), encoding="utf-8-sig")


def test_crops_of_one_photograph_stay_together_unasked(photos: Path, tmp_path: Path) -> None:
    write_crops(photos, 3, photos / "crops.csv")
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
    write_crops(photos, 3, tmp_path / "crops.csv")
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
    (tmp_path / "other.csv").write_text("crop,photo,photo_sha256\ndirt/99.png,a.jpg,aa\n", encoding="utf-8")
    with pytest.raises(SplitError, match=r"other\.csv: names none of the images of .*sources"):
        split(sources, tmp_path / "none", group_by=GroupBy(crops=tmp_path / "other.csv"))
    shutil.copy(photos / "dirt" / "5.png", sources / "dirt" / "1.png")
    with pytest.raises(SplitError, match=r"1\.png: other bytes than the dirt/1\.png that .*mapping\.csv speaks of"):
        split(sources, tmp_path / "changed")


def test_blank_pictures_do_not_tie_all_photographs_together(photos: Path, tmp_path: Path) -> None:
    for k in range(1, 13, 3):
        Image.new("L", (32, 32), 0).save(photos / "Normal" / f"{k}.png")
    write_crops(photos, 3, photos / "crops.csv")
    result = split(photos, tmp_path / "data")
    assert len({row.group for row in result.rows}) == 12
    assert result.notes == ("4 identical pictures of a single colour lie in several groups and were let stay there",)


def test_too_few_groups_are_refused_before_the_images_are_read(photos: Path, tmp_path: Path) -> None:
    (photos / "dirt" / "3.png").write_bytes(b"no picture")
    with pytest.raises(SplitError, match=r"class 'Normal': 1 group\(s\)"):
        split(photos, tmp_path / "data", group_by=GroupBy(pattern=r"\.(png)$"))


def test_groups_that_identical_pictures_make_too_few_are_explained(photos: Path, tmp_path: Path) -> None:
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
