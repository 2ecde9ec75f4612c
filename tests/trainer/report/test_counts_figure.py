from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from sdcore.errors import SettingsError
from trainer.data.dataset import Counts, count_labels
from trainer.report import standalone_figures
from trainer.report.standalone_figures import draw_counts


def counts(*labels: str) -> Counts:
    return count_labels([("train", label) for label in labels for _ in range(3)], ("train", "val"), classes=["empty"])


def test_an_svg_holds_names_and_numbers_as_words(tmp_path: Path) -> None:
    drawn = draw_counts(tmp_path / "a.svg", counts("焊盘凹凸", "$5_x$", "<b>"), title="数据")
    assert not drawn.numbered
    words = [node.text for node in ElementTree.parse(tmp_path / "a.svg").iter() if node.tag.endswith("text")]
    assert {"焊盘凹凸", "<b>", "数据", "3", "0", "train", "val"} <= set(words)
    assert "$5_x$" in words


def test_a_png_is_a_picture_with_bars(tmp_path: Path) -> None:
    assert not draw_counts(tmp_path / "out" / "a.png", counts("open")).numbered
    with Image.open(tmp_path / "out" / "a.png") as picture:
        pixels = {colour: number for number, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    in_legend = pixels[0xE6, 0x9F, 0x00]
    assert pixels[0x00, 0x72, 0xB2] > 20 * in_legend, "val has no image, so no bar"


def test_names_that_no_font_can_draw_become_numbers_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone_figures, "_FONTS", ())
    drawn = draw_counts(tmp_path / "a.pdf", counts("焊盘凹凸"))
    assert drawn.numbered
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"found the suffix '\.bmp'; expected one of \.png"):
        draw_counts(tmp_path / "a.bmp", counts("open"))
    assert list(tmp_path.iterdir()) == []
