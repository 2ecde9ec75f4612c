from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from trainer.check import REPORT_NAME, check_folder, reason_unusable, write_report
from trainer.cli import cli
from trainer.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    good = tmp_path / "图片" / "Normal"
    good.mkdir(parents=True)
    Image.new("RGB", (64, 64), (90, 30, 20)).save(good / "好.png")
    Image.effect_noise((64, 64), 40).save(good / "grey.jpg")
    return good.parent


def reasons(folder: Path) -> dict[str, str]:
    return {entry.file: entry.reason for entry in check_folder(folder).bad}


def test_a_folder_of_good_pictures_has_nothing_bad(folder: Path) -> None:
    result = check_folder(folder)
    assert (result.good, result.bad) == (2, ())


@pytest.mark.parametrize("name", ["grey.jpg", "好.png"])
def test_a_picture_cut_short_is_bad(folder: Path, name: str) -> None:
    path = folder / "Normal" / name
    path.write_bytes(path.read_bytes()[:-30])
    assert list(reasons(folder)) == [f"Normal/{name}"]
    assert "truncated" in reasons(folder)[f"Normal/{name}"]


def test_zero_bytes_text_and_strangers_are_told_apart(folder: Path) -> None:
    (folder / "Normal" / "empty.png").touch()
    (folder / "Normal" / "words.jpg").write_text("no picture", encoding="utf-8")
    (folder / "Normal" / "备注.txt").write_text("notes", encoding="utf-8")
    (folder / "Normal" / "picture").write_bytes((folder / "Normal" / "好.png").read_bytes())
    assert reasons(folder) == {
        "Normal/empty.png": "zero bytes",
        "Normal/picture": "a PNG picture whose name does not end like one; rename it",
        "Normal/words.jpg": "not an image, whatever its name says",
        "Normal/备注.txt": "not an image",
    }


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._好.png", "THUMBS.DB"])
def test_leftovers_of_operating_systems_are_named_as_such(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\0\0\0\1Bud1")
    assert "operating system" in reasons(folder)[name]


def test_records_of_this_software_are_no_strangers(folder: Path) -> None:
    (folder / "split.csv").write_text("file\n", encoding="utf-8")
    (folder / "manifest.sqlite").write_bytes(b"SQLite format 3\0")
    assert reasons(folder) == {}


def test_flipped_bits_in_the_pixels_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 60).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert reason_unusable(path) is not None


def test_a_decompression_bomb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.png"
    Image.new("L", (100, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert reason_unusable(path) == "says to have more than 8000 pixels: damaged, or a decompression bomb"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    assert reason_unusable(path) is None, "a large photograph is no bomb"


def test_a_link_to_nothing_is_bad(folder: Path) -> None:
    (folder / "Normal" / "link.png").symlink_to(folder / "gone.png")
    assert reasons(folder) == {"Normal/link.png": "a link to nothing"}


def test_bad_files_come_in_natural_order(folder: Path) -> None:
    for number in (10, 9, 100):
        (folder / f"{number}.png").touch()
    assert [entry.file for entry in check_folder(folder).bad] == ["9.png", "10.png", "100.png"]


def test_the_report_has_one_line_a_file_even_for_a_name_with_a_line_break(folder: Path) -> None:
    (folder / "two\nlines.png").touch()
    (folder / "b.png").touch()
    path = write_report(check_folder(folder))
    assert path == folder / REPORT_NAME
    assert path.read_text(encoding="utf-8") == "b.png\tzero bytes\ntwo lines.png\tzero bytes\n"


def test_a_clean_check_removes_the_report_of_an_earlier_one(folder: Path) -> None:
    (folder / "b.png").touch()
    write_report(check_folder(folder))
    (folder / "b.png").unlink()
    assert write_report(check_folder(folder)) is None
    assert not (folder / REPORT_NAME).exists()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        check_folder(tmp_path / "nowhere")


def test_an_empty_folder_has_nothing_good_and_nothing_bad(tmp_path: Path) -> None:
    result = check_folder(tmp_path)
    assert (result.good, result.bad) == (0, ())


def test_the_command_ends_with_one_when_anything_is_bad(folder: Path) -> None:
    clean = CliRunner().invoke(cli, ["check", str(folder)])
    assert clean.exit_code == 0
    assert "2 good pictures, 0 bad files" in clean.stdout
    (folder / "b.png").touch()
    bad = CliRunner().invoke(cli, ["check", str(folder)])
    assert bad.exit_code == 1
    assert "b.png: zero bytes" in bad.stdout
    assert (folder / REPORT_NAME).read_text(encoding="utf-8") == "b.png\tzero bytes\n"


def test_the_command_prints_one_json_document(folder: Path) -> None:
    (folder / "b.png").touch()
    done = CliRunner().invoke(cli, ["check", str(folder), "--json"])
    found = json.loads(done.stdout)
    assert (found["good"], found["bad"]) == (2, [{"file": "b.png", "reason": "zero bytes"}])
    assert found["totals"] == {"blank": 1, "class": 1}
    assert [(one["kind"], one["files"]) for one in found["findings"]] == [("blank", ["Normal/好.png"]), ("class", [])]
