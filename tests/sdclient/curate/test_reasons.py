"""The words of the filters."""

from __future__ import annotations

from sdclient.curate import REASONS, Direction, JudgedImage
from sdclient.curate.reasons import label_of


def judged(*reasons: str, verdict: str = "rejected") -> JudgedImage:
    return JudgedImage("pit/1_1.png", "pit", "pit/1.png", "0" * 64, reasons, {}, verdict)


def test_every_reason_points_one_way_and_has_words_in_both_languages() -> None:
    alike = {word for word, reason in REASONS.items() if reason.direction is Direction.TOO_ALIKE}
    assert alike == {"too_alike", "near_duplicate"}
    assert all(reason.english.isascii() and not reason.chinese.isascii() for reason in REASONS.values())
    assert label_of("blurred") == "blurred 模糊"


def test_a_reason_of_a_later_version_stands_for_itself() -> None:
    assert label_of("from_the_future") == "from_the_future"
    assert not judged("from_the_future").is_too_alike


def test_an_image_can_fail_both_ways_at_once() -> None:
    one = judged("near_duplicate", "blurred")
    assert one.is_too_alike
    assert one.is_unreal
    assert not one.is_accepted


def test_a_persons_word_goes_before_the_filters() -> None:
    assert judged("blurred", verdict="accepted").is_accepted
    assert not judged(verdict="rejected").is_accepted
