from __future__ import annotations

import re
from xml.etree import ElementTree

from trainer.report.figures import draw_differences, draw_losses, loss_range
from trainer.report.inputs import Curve
from trainer.report.words import Words
from trainer.stats import Interval
from trainer.verdict import Difference

WORDS = Words()
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
