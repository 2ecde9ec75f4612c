from __future__ import annotations

from trainer.evaluation.metrics import Rate
from trainer.evaluation.stats import Interval
from trainer.messages import count, counted, number, p_value, percent, percent_range, plain_range, signed, signed_range


def test_undefined_is_a_word_never_a_zero() -> None:
    assert percent(None) == number(None) == signed(None) == "undefined"
    assert percent(0.0) == "0.00 %"


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    assert signed(-0.0004) == "+0.000"
    assert signed(-0.0006) == "-0.001"


def test_figures_are_written_alike() -> None:
    assert percent(0.0417) == "4.17 %"
    assert count(3.0) == "3"
    assert count(10 / 3) == "3.3"
    assert p_value(0.00012) == "< 0.001"
    assert p_value(0.03125) == "0.031"
    assert counted(Rate(2, 9)) == "2/9"
    assert percent_range(Interval(0.1, 0.25)) == "10.00–25.00 %"
    assert signed_range(Interval(-0.1, 0.25)) == "-0.100 to +0.250"
    assert signed_range(None) == "none"
    assert percent_range(None) == ""
    assert percent_range(Interval(0.123, 1.0), digits=1) == "12.3–100.0 %"
    assert plain_range(Interval(0.1, 0.25)) == "0.100–0.250"
    assert plain_range(None) == "none"
