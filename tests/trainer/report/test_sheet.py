from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from trainer.report.sheet import Group, Section, Tile, render_sheet, write_sheet


def section(*tiles: Tile, **more: object) -> Section:
    return Section("Bad files", "坏文件", "Cannot be trained on.", len(tiles), (Group(tiles, "<b>组"),), **more)  # type: ignore[arg-type]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.effect_noise((300, 200), 60).save(tmp_path / "图.png")
    return tmp_path / "图.png"


def test_a_sheet_holds_its_pictures_inside_and_escapes_names(picture: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "check.html"
    write_sheet(path, "Check of <照片>", [section(Tile("<i>图.png", picture, "zero & bytes"))], words="2 files")
    html = path.read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in html
    assert re.search(r'(?:src|href)="(?!data:|#)', html) is None, "nothing from outside"
    assert "Check of &lt;照片&gt;" in html
    assert "&lt;i&gt;图.png" in html
    assert "&lt;b&gt;组" in html
    assert "zero &amp; bytes" in html
    assert "坏文件" in html
    assert not list(path.parent.glob("*.part"))


def test_a_file_without_a_picture_says_so(picture: Path) -> None:
    picture.write_bytes(b"no picture")
    html = render_sheet("t", [section(Tile("a.png"), Tile("b.png", picture), Tile("c.png", picture.parent / "gone"))])
    assert html.count("no picture to show") == 3
    assert "<img" not in html


def test_what_is_not_shown_is_counted(picture: Path) -> None:
    groups = (Group((Tile("a", picture),), more=7),)
    html = render_sheet("t", [Section("Copies", "重复", "w", 31, groups, more=4)])
    assert "and 7 more, not shown" in html
    assert "and 4 more groups, not shown" in html
    assert re.search(r"Copies.*<b>31</b>", html)


def test_empty_sections_are_left_out_and_an_empty_sheet_says_so() -> None:
    assert "Nothing to show" in render_sheet("t", [])
    html = render_sheet("t", [Section("Copies", "重复", "w", 0, ())])
    assert "Nothing to show" in html
    assert "Copies" not in html


def test_a_name_that_is_no_unicode_does_not_stop_the_page(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.html", "t", [section(Tile("bad\udcff.png"))])
    assert "bad?.png" in (tmp_path / "a.html").read_text(encoding="utf-8")
