"""What `trainer check` reports, and its pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from sdcore.errors import DataError
from trainer.cli import cli
from trainer.data import check
from trainer.data.check import (
    REPORT_NAME,
    SHEET_NAME,
    BadFile,
    CheckResult,
    check_as_json,
    check_folder,
    sections_of,
    write_check_sheet,
    write_report,
)
from trainer.data.findings import KINDS, Finding
from trainer.data.fingerprints import fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    good = tmp_path / "图片" / "Normal"
    good.mkdir(parents=True)
    Image.new("RGB", (64, 64), (90, 30, 20)).save(good / "好.png")
    Image.effect_noise((64, 64), 40).save(good / "grey.jpg")
    return good.parent


def reasons(folder: Path) -> dict[str, str]:
    return {entry.file: entry.reason for entry in check_folder(folder).bad}


def test_a_folder_of_good_images_has_nothing_bad(folder: Path) -> None:
    result = check_folder(folder)
    assert (result.good, result.bad) == (2, ())


@pytest.mark.parametrize("name", ["grey.jpg", "好.png"])
def test_an_image_cut_short_is_bad(folder: Path, name: str) -> None:
    path = folder / "Normal" / name
    path.write_bytes(path.read_bytes()[:-30])
    assert list(reasons(folder)) == [f"Normal/{name}"]
    assert "truncated" in reasons(folder)[f"Normal/{name}"]


def test_zero_bytes_text_and_strangers_are_told_apart(folder: Path) -> None:
    (folder / "Normal" / "empty.png").touch()
    (folder / "Normal" / "words.jpg").write_text("no image", encoding="utf-8")
    (folder / "Normal" / "备注.txt").write_text("notes", encoding="utf-8")
    (folder / "Normal" / "image").write_bytes((folder / "Normal" / "好.png").read_bytes())
    assert reasons(folder) == {
        "Normal/empty.png": "zero bytes",
        "Normal/image": "a PNG image whose name does not end like one; rename it",
        "Normal/words.jpg": "not an image",
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
    assert fingerprint(path).error is not None


def test_a_decompression_bomb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.png"
    Image.new("L", (100, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert fingerprint(path).error == "too many pixels for one image (more than 8000)"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    assert fingerprint(path).error is None, "a large photograph is no bomb"


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


@pytest.fixture
def planted(data: Path) -> Path:
    """The DATA folder with one fault of many kinds."""
    train = data / "train" / "划痕"
    (data / "test" / "划痕" / "copy.png").write_bytes((train / "1.png").read_bytes())
    with Image.open(train / "2.png") as image:
        image.save(data / "val" / "dirt" / "same.bmp")
        image.resize((96, 96), Image.Resampling.NEAREST).save(train / "large.png")
        image.save(train / "jpeg.png", "JPEG", quality=95)
        image.convert("RGBA").save(train / "alpha.png")
    (train / "empty.png").touch()
    return data


def by_kind(folder: Path, **options: int) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for finding in check_folder(folder, **options).findings:  # type: ignore[arg-type]
        found.setdefault(finding.kind, []).append(finding.files)
    return found


def test_planted_faults_are_found_across_splits_first(planted: Path) -> None:
    found = by_kind(planted)
    assert list(found) == [kind for kind in KINDS if kind in found], "in the order of KINDS"
    assert found["copy_across"] == [
        ("test/划痕/copy.png", "train/划痕/1.png"),
        ("train/划痕/2.png", "train/划痕/alpha.png", "val/dirt/same.bmp"),
    ]
    assert found["contradiction"] == [("train/划痕/2.png", "train/划痕/alpha.png", "val/dirt/same.bmp")]
    assert found["size"] == [("train/划痕/large.png",)]
    assert found["disguised"] == [("train/划痕/jpeg.png",)]
    assert found["alpha"] == [("train/划痕/alpha.png",)]
    assert ("train/划痕/2.png", "train/划痕/jpeg.png", "train/划痕/large.png") in found["near"]


def test_workers_change_nothing_in_a_check(planted: Path) -> None:
    assert check_folder(planted, workers=2) == check_folder(planted)


def test_a_check_changes_no_image(planted: Path) -> None:
    before = {path: path.read_bytes() for path in planted.rglob("*.*")}
    write_report(check_folder(planted))
    after = {path: path.read_bytes() for path in planted.rglob("*.*") if path.name != REPORT_NAME}
    assert after == before


def test_look_alikes_can_be_left_out(planted: Path) -> None:
    assert not {"near", "near_across"} & check_as_json(check_folder(planted, near_bits=None))["totals"].keys()
    with pytest.raises(ValueError, match="found 65; expected 0 to 64"):
        check_folder(planted, near_bits=65)


def test_the_sheet_of_the_command_is_no_stranger_and_shows_every_kind(planted: Path) -> None:
    sheet = planted / SHEET_NAME
    done = CliRunner().invoke(cli, ["check", str(planted), "--sheet", str(sheet), "--strict"])
    assert done.exit_code == 1
    html = sheet.read_text(encoding="utf-8")
    for kind in check_as_json(check_folder(planted))["totals"]:
        assert KINDS[kind].title in html
        assert KINDS[kind].title in done.stdout
    assert [entry.file for entry in check_folder(planted).bad] == ["train/划痕/empty.png"]


def test_warnings_alone_end_with_zero_unless_strict(folder: Path) -> None:
    assert CliRunner().invoke(cli, ["check", str(folder)]).exit_code == 0
    assert CliRunner().invoke(cli, ["check", str(folder), "--strict"]).exit_code == 1


def test_sections_come_worst_first_and_count_what_they_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MOST_GROUPS", 2)
    monkeypatch.setattr(check, "MOST_TILES", 3)
    monkeypatch.setattr(check, "MOST_SINGLES", 4)
    result = CheckResult(
        Path("照片"),
        good=50,
        bad=tuple(BadFile(f"{n}.png", "zero bytes") for n in range(6)),
        findings=(
            *(Finding("blank", "contrast 0", (f"b{n}",)) for n in range(5)),
            *(Finding("copy", "5 files of equal bytes", tuple(f"{n}/{k}" for k in range(5))) for n in range(3)),
            Finding("class", "a: 3 images"),
        ),
    )
    bad, copies, blank, classes = sections_of(result)
    assert (bad.title, bad.total, bad.is_fault, bad.groups[0].more) == ("Bad files", 6, True, 2)
    assert all(tile.path is None for tile in bad.groups[0].tiles)
    assert (copies.total, len(copies.groups), copies.more, copies.groups[0].more) == (15, 2, 1, 2)
    assert (blank.total, len(blank.groups), len(blank.groups[0].tiles), blank.groups[0].more) == (5, 1, 4, 1)
    assert (classes.total, classes.groups[0].title, classes.groups[0].tiles) == (1, "a: 3 images", ())


def test_a_folder_without_faults_has_no_section(tmp_path: Path) -> None:
    result = CheckResult(tmp_path, good=0, bad=())
    assert sections_of(result) == []
    write_check_sheet(tmp_path / "a.html", result)
    assert "Nothing to show" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_every_file_of_a_finding_has_its_image_and_note(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.effect_noise((40, 40), 60).save(tmp_path / name)
    found = Finding("near_across", "2 bits apart", ("a.png", "b.png"), ("held out", "training"))
    write_check_sheet(tmp_path / "a.html", CheckResult(tmp_path, good=2, bad=(), findings=(found,)))
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert html.count("<img ") == 2
    assert html.index("held out") < html.index("training</figcaption>")
