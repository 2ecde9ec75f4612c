from __future__ import annotations

import numpy as np
import pytest

from generator.report.page import figure_in_words, share_in_words
from generator.report.stats import UNDEFINED, Figure, clopper_pearson, find_limits, mean_of, share_of


@pytest.mark.parametrize(("count", "of"), [(0, 12), (3, 12), (12, 12), (1, 1)])
def test_intervals_of_counts_are_those_of_the_binomial_test(count: int, of: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(count, of).proportion_ci(method="exact")
    assert clopper_pearson(count, of) == pytest.approx((expected.low, expected.high))


def test_nothing_to_count_is_undefined() -> None:
    share = share_of([], [])
    assert (share.rate, share.low, share.high) == (None, None, None)
    assert share_in_words(share).startswith("undefined")
    assert figure_in_words(UNDEFINED).startswith("undefined")


def test_images_of_one_source_are_no_more_than_one_source() -> None:
    flags = np.repeat([True, False, True, True, True, False], 8)
    alone = share_of(flags, [str(place) for place in range(48)])
    together = share_of(flags, np.repeat(list("abcdef"), 8).tolist())
    assert alone.rate == together.rate == 32 / 48
    assert together.low is not None
    assert together.high is not None
    assert (alone.low, alone.high) == pytest.approx(clopper_pearson(32, 48))
    # Six sources say as much as six images: about 2/3 +- 1.96 sqrt(2/9 / 6).
    assert together.low < 0.40
    assert together.high > 0.95


def test_the_mean_of_figures_leaves_out_what_is_undefined() -> None:
    found = mean_of([Figure(0.2, 0.1, 0.4), UNDEFINED, Figure(0.6, 0.5, 0.6)])
    assert found.value == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - (0.1**2 + 0.1**2) ** 0.5 / 2)
    assert found.high == pytest.approx(0.4 + 0.2 / 2)
    assert mean_of([UNDEFINED]) == UNDEFINED


def shares(counts: list[int], of: int = 20) -> list:
    return [share_of([True] * count + [False] * (of - count), [str(one) for one in range(of)]) for count in counts]


def test_limits_lie_on_the_line_between_tested_strengths() -> None:
    found = find_limits([0.1, 0.3, 0.5, 0.7], shares([20, 20, 16, 10]), shares([0, 8, 16, 20]))
    # 0.4 to 0.8 crosses 0.5 a quarter of the way from 0.3 to 0.5; 1.0 to 0.8 crosses 0.9 half way.
    assert (found.low, found.high, found.images) == (0.35, 0.4, 20)
    assert found.is_range


def test_limits_do_not_follow_chance() -> None:
    # 17 of 20 at 0.3 stands between 20 and 20: pooled with its right neighbour it is 18.5 of 20, above nine in ten.
    found = find_limits([0.1, 0.3, 0.5, 0.7], shares([20, 17, 20, 0]), shares([20, 20, 20, 20]))
    assert found.low == 0.1
    assert found.high is not None
    assert 0.5 <= found.high < 0.51


def test_no_range_is_said_to_be_none() -> None:
    lost = find_limits([0.1, 0.5], shares([10, 5]), shares([20, 20]))
    assert (lost.low, lost.high, lost.is_range) == (0.1, None, False)
    frozen = find_limits([0.1, 0.5], shares([20, 20]), shares([0, 5]))
    assert (frozen.low, frozen.high, frozen.is_range) == (None, 0.5, False)
    crossed = find_limits([0.1, 0.5], shares([20, 0]), shares([0, 20]))
    assert crossed.low == 0.3
    assert crossed.high == 0.14
    assert not crossed.is_range
    assert find_limits([0.1], shares([0], of=0), shares([0], of=0)).images == 0
