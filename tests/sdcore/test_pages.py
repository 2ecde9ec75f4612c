"""Pages of image tiles: self-contained, escaped, and thumbnails that fit."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from sdcore.pages import (
    THUMBNAIL_SIDE_PX,
    ImageTile,
    PageSection,
    TileGroup,
    render_image_page,
    thumbnail_uri,
    write_image_page,
)


def section(*tiles: ImageTile, **more: object) -> PageSection:
    return PageSection("Bad files", "坏文件", "Cannot be trained on.", len(tiles), (TileGroup(tiles, "<b>组"),), **more)  # type: ignore[arg-type]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.effect_noise((300, 200), 60).save(tmp_path / "图.png")
    return tmp_path / "图.png"


def test_a_sheet_holds_its_images_inside_and_escapes_names(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "check.html"
    write_image_page(path, "Check of <照片>", [section(ImageTile("<i>图.png", image, "zero & bytes"))], words="2 files")
    html = path.read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in html
    assert re.search(r'(?:src|href)="(?!data:|#)', html) is None, "nothing from outside"
    assert "Check of &lt;照片&gt;" in html
    assert "&lt;i&gt;图.png" in html
    assert "&lt;b&gt;组" in html
    assert "zero &amp; bytes" in html
    assert "坏文件" in html
    assert not list(path.parent.glob("*.part"))


def test_a_file_without_an_image_says_so(image: Path) -> None:
    image.write_bytes(b"no image")
    html = render_image_page(
        "t", [section(ImageTile("a.png"), ImageTile("b.png", image), ImageTile("c.png", image.parent / "gone"))]
    )
    assert html.count("no picture to show") == 3
    assert "<img" not in html


def test_an_image_of_sixteen_bits_is_shown_in_its_greys(tmp_path: Path) -> None:
    Image.new("I;16", (20, 20), 256 * 90).save(tmp_path / "a.png")
    uri = re.search(
        r'src="data:image/png;base64,([^"]+)"', render_image_page("t", [section(ImageTile("a", tmp_path / "a.png"))])
    )
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri[1]))) as shown:
        assert shown.getpixel((3, 3)) == (90, 90, 90)


def test_what_is_not_shown_is_counted(image: Path) -> None:
    groups = (TileGroup((ImageTile("a", image),), more=7),)
    html = render_image_page("t", [PageSection("Copies", "重复", "w", 31, groups, more=4)])
    assert "and 7 more, not shown" in html
    assert "and 4 more groups, not shown" in html
    assert re.search(r"Copies.*<b>31</b>", html)


def test_empty_sections_are_left_out_and_an_empty_sheet_says_so() -> None:
    assert "Nothing to show" in render_image_page("t", [])
    html = render_image_page("t", [PageSection("Copies", "重复", "w", 0, ())])
    assert "Nothing to show" in html
    assert "Copies" not in html


def test_a_name_that_is_no_unicode_does_not_stop_the_page(tmp_path: Path) -> None:
    write_image_page(tmp_path / "a.html", "t", [section(ImageTile("bad\udcff.png"))])
    assert "bad?.png" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_large_images_shrink_and_unreadable_ones_are_left_out(tmp_path: Path) -> None:
    large, small, broken = (tmp_path / name for name in ("large.png", "小.png", "broken.png"))
    Image.new("RGB", (900, 300), "red").save(large)
    Image.new("L", (64, 64), 9).save(small)
    broken.write_bytes(b"not an image")
    assert str(thumbnail_uri(large)).startswith("data:image/jpeg;base64,")
    assert str(thumbnail_uri(small)).startswith("data:image/png;base64,")
    assert thumbnail_uri(broken) is None
    assert thumbnail_uri(tmp_path / "none.png") is None
    assert thumbnail_uri(tmp_path) is None
    assert THUMBNAIL_SIDE_PX < 300


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_nothing_overflows_a_telephone_and_nothing_is_loaded(image: Path, tmp_path: Path) -> None:
    """390 px is less than the narrowest window of a headless Chromium, so the page stands in a frame."""
    names = ["train/焊盘凹凸/" + "long_name_without_an_end" * 8 + ".png", "b.png"]
    write_image_page(
        tmp_path / "sheet.html", "A" * 200, [section(ImageTile(names[0], image, "w" * 90), ImageTile(names[1]))]
    )
    probe = """<script>
      const wide = [...document.querySelectorAll('body *')].filter(
        e => e.getBoundingClientRect().right > innerWidth + 1);
      parent.postMessage([innerWidth, document.documentElement.scrollWidth, wide.length,
        performance.getEntriesByType('resource').length].join(' '), '*');</script>"""
    html = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    (tmp_path / "sheet.html").write_text(html.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<script>onmessage = e => { document.title = e.data; }</script>"
        '<iframe src="sheet.html" width="390" height="800" style="border:0"></iframe>',
        encoding="utf-8",
    )
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=600,900",
         "--virtual-time-budget=3000", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, encoding="utf-8", timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>([\d ]+)</title>", done.stdout)
    assert title is not None, done.stderr
    inner, scroll, too_wide, resources = map(int, title[1].split())
    assert inner == 390
    assert scroll <= 390
    assert (too_wide, resources) == (0, 0)
