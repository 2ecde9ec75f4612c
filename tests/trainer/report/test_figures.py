from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from sdcore.errors import SettingsError
from trainer.data.dataset import Counts, count_labels
from trainer.evaluation.metrics import Rate
from trainer.evaluation.stats import Interval
from trainer.evaluation.verdict import Difference
from trainer.report import standalone_figures
from trainer.report.elements import ArmName, ReportWords
from trainer.report.figures import (
    Lettering,
    draw_balance,
    draw_differences,
    draw_intervals,
    draw_losses,
    draw_operating,
    loss_range,
)
from trainer.report.inputs import ArmFacts, ChosenCut, ClassCount, Curve, OperatingCurve
from trainer.report.standalone_figures import draw_counts

WORDS = ReportWords()
CURVE = Curve("seed-0", (1, 2, 3), (1.0, 0.8, 0.6), (1.2, 0.9, 0.7))


def colours(svg: str) -> set[str]:
    return set(re.findall(r"(?:stroke|fill): ([^;\"]+)", svg))


def test_losses_are_drawn_in_the_colours_of_the_page() -> None:
    svg = draw_losses([CURVE], arm=1, loss_axis=(0, 2), identity="one", words=WORDS)
    ElementTree.fromstring(svg)
    assert "var(--arm-1)" in colours(svg)
    assert "var(--arm-0)" not in colours(svg)
    assert not any(colour.startswith("#01020") for colour in colours(svg))
    assert {"epoch", "loss", "training", "validation"} <= set(re.findall(r">([a-z]+)</text>", svg))


def test_a_drawing_repeats_exactly_and_keeps_its_names_to_itself() -> None:
    first = draw_losses([CURVE], arm=0, loss_axis=(0, 2), identity="one", words=WORDS)
    assert draw_losses([CURVE], arm=0, loss_axis=(0, 2), identity="one", words=WORDS) == first
    other = draw_losses([CURVE], arm=0, loss_axis=(0, 2), identity="two", words=WORDS)
    assert not set(re.findall(r' id="([^"]+)"', first)) & set(re.findall(r' id="([^"]+)"', other))


def test_a_single_epoch_is_a_visible_dot() -> None:
    once = draw_losses([Curve("seed-0", (1,), (1.0,), (1.2,))], arm=0, loss_axis=(0, 2), identity="one", words=WORDS)
    assert "<use" in once


def test_one_axis_holds_all_curves() -> None:
    assert loss_range([CURVE]) == (0.0, 1.05 * 1.2)
    assert loss_range([]) == (0.0, 1.0)


def test_differences_without_a_value_or_an_interval_are_drawn_too() -> None:
    svg = draw_differences(
        [
            Difference("macro_f1", 0.5, 0.6, Interval(0.02, 0.18)),
            Difference("accuracy", 0.5, 0.6, None),
            Difference("miss_rate", None, None, None),
        ],
        identity="d",
        words=WORDS,
    )
    assert "macro-F1 (higher is better)" in svg
    assert "miss rate" not in svg
    ElementTree.fromstring(draw_differences([Difference("miss_rate", None, None, None)], identity="e", words=WORDS))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_words_of_any_script_are_in_the_drawing_as_they_are() -> None:
    zh = draw_losses([CURVE], arm=0, loss_axis=(0, 2), identity="one", words=ReportWords("zh"))
    assert {"轮次", "损失", "训练", "验证"} <= set(texts(zh))
    strange = "焊盘 <凹凸> & $x$"
    named = [(strange, Difference("macro_f1", 0.5, 0.6, None)), ("$y$", Difference("macro_f1", 0.5, 0.7, None))]
    drawn = texts(draw_intervals(named, [3, 11], identity="two", words=WORDS))
    assert {strange, "$y$"} <= set(drawn)
    assert not any(set(text) <= set("m@W") for text in drawn if text)


def test_stand_ins_are_all_different_and_as_wide_as_their_words() -> None:
    lettering = Lettering()
    words = [f"焊{chr(0x4E00 + n)}" for n in range(40)]
    stand_ins = [lettering(word) for word in words]
    assert len(set(stand_ins)) == 40
    assert lettering(words[3]) == stand_ins[3]
    assert {len(one) for one in stand_ins[:9]} == {2}
    assert lettering("plain") == "plain"
    assert lettering("") == ""
    assert lettering.restore(f"<text>{stand_ins[5]}</text>") == f"<text>{words[5]}</text>"


def test_the_balance_before_and_after_has_its_numbers() -> None:
    before = ArmFacts("a", (ClassCount("漏铜", 80, 0), ClassCount("dirt", 506, 0)))
    after = ArmFacts("b", (ClassCount("漏铜", 80, 220), ClassCount("dirt", 506, 0), ClassCount("new", 0, 7.5)))
    names = [ArmName(0, "基线"), ArmName(1, "b")]
    drawn = texts(draw_balance(before, after, names, identity="x", words=WORDS))
    assert {"漏铜", "dirt", "new", "A 基线: total", "B b: generated"} <= set(drawn)
    assert {"80", "300", "506", "7.5", "0"} <= set(drawn)


def test_a_ring_marks_each_chosen_cut() -> None:
    def curve(chosen: ChosenCut | None) -> OperatingCurve:
        return OperatingCurve("seed-0", (0.0, 0.5, 1.0), (1.0, 0.25, 0.0), chosen)

    def rings(chosen: ChosenCut | None) -> int:
        arms = [(ArmName(0, "a"), [curve(None)]), (ArmName(2, "c"), [curve(chosen)])]
        svg = draw_operating(arms, identity="x", words=WORDS)
        assert {"var(--arm-0)", "var(--arm-2)"} <= colours(svg)
        assert {"A a", "C c", "miss rate", "overkill rate"} <= set(texts(svg))
        return svg.count("<use")

    none = rings(None)
    assert rings(ChosenCut(0.5, 0.05, Rate(1, 4), Rate(1, 2))) == none + 1
    # A rate over nothing has no place.
    assert rings(ChosenCut(0.5, 0.05, Rate(0, 0), Rate(1, 2))) == none


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
