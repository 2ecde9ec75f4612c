"""`sdclient crop` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.cli import cli


def crop(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["crop", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "照片/脏污").mkdir(parents=True)
    Image.new("RGB", (1000, 600)).save(tmp_path / "照片/脏污/a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/classes.txt").write_text("脏污\n", encoding="utf-8")
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.01 0.01\n", encoding="utf-8")
    return tmp_path / "照片"


def test_boxes_give_crops_and_the_next_command(photos: Path, tmp_path: Path) -> None:
    code, out, _ = crop(photos, tmp_path / "out", "--boxes", tmp_path / "labels")
    assert code == 0
    assert "脏污: 1 new crops" in out
    assert "1 crops made, 0 unchanged" in out
    assert f"sdclient number {tmp_path / 'out'} sources" in out
    with Image.open(tmp_path / "out/脏污/a_1.png") as image:
        assert image.size == (256, 256)
    assert "0 crops made, 1 unchanged" in crop(photos, tmp_path / "out", "--boxes", tmp_path / "labels")[1]


def test_margin_and_size_set_the_side(photos: Path, tmp_path: Path) -> None:
    # The box is 10 x 6 px.
    options = ("--boxes", tmp_path / "labels", "--margin", 2, "--size", 20)
    assert crop(photos, tmp_path / "out", *options)[0] == 0
    with Image.open(tmp_path / "out/脏污/a_1.png") as image:
        assert image.size == (50, 50)


def test_tiles_overlap_by_a_fifth_unless_said_otherwise(photos: Path, tmp_path: Path) -> None:
    assert "6 crops made" in crop(photos, tmp_path / "a", "--tile", 512)[1]
    assert "4 crops made" in crop(photos, tmp_path / "b", "--tile", 512, "--overlap", 0)[1]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--boxes", "labels", "--tile", "512"],
        ["--tile", "512", "--margin", "1"],
        ["--tile", "512", "--size", "100"],
        ["--boxes", "labels", "--overlap", "0.1"],
        ["--tile", "0"],
        ["--tile", "512", "--overlap", "1"],
        ["--boxes", "labels", "--margin", "-1"],
        ["--boxes", "labels", "--margin", "inf"],
        ["--tile", "512", "--overlap", "nan"],
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(photos: Path, tmp_path: Path, options: list[str]) -> None:
    assert crop(photos, tmp_path / "out", *options)[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_box_mistake_is_one_line_with_file_and_line(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.01 0.01\n7 0.5 0.5 0.1 0.1\n", encoding="utf-8")
    code, _, err = crop(photos, tmp_path / "out", "--boxes", tmp_path / "labels")
    assert code == 1
    assert "a.txt: line 2: class 7; expected a number from 0 to 0" in err.splitlines()[-1]


def test_no_crop_at_all_is_a_failure_and_says_what_was_left_out(photos: Path, tmp_path: Path) -> None:
    (photos / "脏污/a.jpg").write_bytes(b"")
    code, _, err = crop(photos, tmp_path / "out", "--boxes", tmp_path / "labels")
    assert code == 1
    assert "left out: 脏污/a.jpg: an empty file" in err
    assert "1 box file belongs to no photo: a.txt" in err
    assert "no crop came of it" in err.splitlines()[-1]
