from __future__ import annotations

import csv
from pathlib import Path

import film_strip
import pytest
from PIL import Image
from steps import StepFailed
from strip_sheet import Frame, Row, draw_strip

from sdcore.annotations.folder import AnnotationFolder


def test_a_sheet_has_a_place_for_every_picture_and_frames_say_what_became_of_it() -> None:
    white = Image.new("RGB", (9, 9), "white")
    frames = (
        Frame(white, ""),
        Frame(white, "accepted", "kept"),
        Frame(white, "noise", "rejected"),
        Frame(None, "none"),
    )
    headings = (("A", "a"), ("B", "b"), ("C", "c"), ("D", "d"))
    one = draw_strip(headings, [Row("pit\ndrawn board", frames)], "A footer. " * 40)
    two = draw_strip(headings, [Row("pit\ndrawn board", frames)] * 2, "A footer. " * 40)
    assert two.width == one.width
    assert two.height - one.height > 250
    colours = {colour for _, colour in two.getcolors(1 << 20) or ()}
    assert {(0x1F, 0x8F, 0x4E), (0xC4, 0x34, 0x2B)} <= colours


def test_a_work_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="is there already"):
        film_strip.make_strip(tmp_path / "a.png", tmp_path, boards=["pit"], deeppcb=None, per_class=2)


@pytest.mark.chain
def test_the_strip_is_made_by_the_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every command for real on a few pictures."""
    target = film_strip.make_strip(tmp_path / "strip.png", tmp_path / "工作", boards=["pit"], deeppcb=None, per_class=3)
    with Image.open(target) as sheet:
        assert sheet.width > 1000
        assert sheet.height > 400
    told = capfd.readouterr().out
    for command in ("number", "mask", "generate", "compose", "curate"):
        assert f"$ sdclient {command} " in told
    assert '"pit, drawn board"' in told
    assert '"too like its source"' in told


def test_boxes_of_deeppcb_are_those_of_its_table(deeppcb: Path, tmp_path: Path) -> None:
    kind = film_strip.take_deeppcb(deeppcb, tmp_path / "kind", ["mousebite"], 2)
    with (deeppcb / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    files = AnnotationFolder(tmp_path / "kind" / "labels")
    photos = sorted((tmp_path / "kind" / "photos" / "mousebite").iterdir())
    assert len(photos) == 2
    for photo in photos:
        with Image.open(photo) as picture:
            (box,) = files.boxes_of(photo, "mousebite", *picture.size)
        told = [float(rows[photo.name][name]) for name in ("bx1", "by1", "bx2", "by2")]
        assert [box.left, box.top, box.right, box.bottom] == pytest.approx(told, abs=0.01)
    assert kind.mask_options == ("--boxes", tmp_path / "kind" / "labels")


def test_a_folder_that_is_not_deeppcb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="expected a DeepPCB folder"):
        film_strip.take_deeppcb(tmp_path, tmp_path / "kind", ["spur"], 2)
