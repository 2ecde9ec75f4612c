from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from trainer.data import check
from trainer.data.check import BadFile, CheckResult, sections_of, write_check_sheet
from trainer.data.findings import Finding


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


def test_every_file_of_a_finding_has_its_picture_and_note(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.effect_noise((40, 40), 60).save(tmp_path / name)
    found = Finding("near_across", "2 bits apart", ("a.png", "b.png"), ("held out", "training"))
    write_check_sheet(tmp_path / "a.html", CheckResult(tmp_path, good=2, bad=(), findings=(found,)))
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert html.count("<img ") == 2
    assert html.index("held out") < html.index("training</figcaption>")
