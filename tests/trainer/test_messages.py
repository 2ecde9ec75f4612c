from __future__ import annotations

from trainer import messages
from trainer.metrics import Rate
from trainer.stats import Interval


def test_undefined_is_a_word_never_a_zero() -> None:
    assert messages.percent(None) == messages.number(None) == messages.signed(None) == "undefined"
    assert messages.percent(0.0) == "0.00 %"


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    assert messages.signed(-0.0004) == "+0.000"
    assert messages.signed(-0.0006) == "-0.001"


def test_figures_are_written_alike() -> None:
    assert messages.percent(0.0417) == "4.17 %"
    assert messages.count(3.0) == "3"
    assert messages.count(10 / 3) == "3.3"
    assert messages.p_value(0.00012) == "< 0.001"
    assert messages.p_value(0.03125) == "0.031"
    assert messages.counted(Rate(2, 9)) == "2/9"
    assert messages.percent_range(Interval(0.1, 0.25)) == "10.00–25.00 %"
    assert messages.signed_range(Interval(-0.1, 0.25)) == "-0.100 to +0.250"
    assert messages.signed_range(None) == "none"
    assert messages.percent_range(None) == ""
    assert messages.percent_range(Interval(0.123, 1.0), digits=1) == "12.3–100.0 %"
    assert messages.plain_range(Interval(0.1, 0.25)) == "0.100–0.250"
    assert messages.plain_range(None) == "none"
