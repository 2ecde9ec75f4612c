from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as golden

from trainer.evaluation.stats import (
    draw_weights,
    effective_images,
    known_groups,
    logit_interval,
    rate_interval,
    separated_interval,
)


def exact(count: int, of: int) -> tuple[float, float]:
    bounds = golden.binomtest(count, of).proportion_ci(method="exact")
    return bounds.low, bounds.high


def test_independent_images_get_the_exact_interval() -> None:
    found = rate_interval(np.arange(80) < 3)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(exact(3, 80))


def test_a_group_an_image_is_what_independent_images_are() -> None:
    has = np.arange(80) < 3
    found = rate_interval(has, np.arange(80))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(exact(3, 80))
    assert known_groups(tuple("abc")) is None
    assert known_groups(None) is None
    assert known_groups(("b", "a", "b")).tolist() == [1, 0, 1]  # type: ignore[union-attr]


def test_images_that_repeat_each_other_count_about_once_a_group() -> None:
    # 20 boards, each seen 10 times with the same outcome: 20 images' worth, less what estimating costs.
    has, boards = np.repeat(np.arange(20) < 7, 10), np.repeat(np.arange(20), 10)
    expected = 20 * 19 / 20 * (golden.t.ppf(0.975, 199) / golden.t.ppf(0.975, 19)) ** 2
    assert effective_images(has, boards) == pytest.approx(expected)


def test_the_effective_number_by_the_published_formula() -> None:
    # Design effect of a ratio by linearisation, written out for four groups of unequal size.
    has = np.array([1, 0, 0, 1, 1, 0, 0, 0, 1, 0], dtype=bool)
    boards = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    rate = 0.4
    apart = [1 - 3 * rate, 2 - 2 * rate, 1 - 4 * rate, 0 - 1 * rate]
    variance = 4 / 3 * sum(one**2 for one in apart) / 100
    factor = (golden.t.ppf(0.975, 9) / golden.t.ppf(0.975, 3)) ** 2
    assert effective_images(has, boards) == pytest.approx(min(10, 0.24 / variance * factor))
    assert effective_images(has, boards + 5) == effective_images(has, boards)


def test_nothing_missed_in_few_boards_proves_less_than_in_many_images() -> None:
    none, boards = np.zeros(50, dtype=bool), np.repeat(np.arange(5), 10)
    found = rate_interval(none, boards)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(exact(0, 5))
    everything = rate_interval(~none, boards)
    assert everything is not None
    assert (everything.low, everything.high) == pytest.approx((1 - found.high, 1.0))


def test_no_images_have_no_interval_and_one_group_counts_once() -> None:
    assert rate_interval(np.zeros(0, dtype=bool)) is None
    assert rate_interval(np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64)) is None
    assert effective_images(np.arange(10) < 4, np.zeros(10, dtype=np.int64)) == 1.0
    assert effective_images(np.tile([True, False], 5), np.repeat(np.arange(5), 2)) == 10.0


def test_a_perfect_ranking_of_few_images_is_not_sure_to_be_perfect() -> None:
    positive = np.arange(100) < 30
    found = separated_interval(True, positive, None)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.025 ** (1 / 30), 1.0))
    opposite = separated_interval(False, positive, None)
    assert opposite is not None
    assert (opposite.low, opposite.high) == pytest.approx((0.0, 1 - found.low))
    boards = separated_interval(True, positive, np.arange(100) // 10)
    assert boards is not None
    assert boards.low == pytest.approx(0.025 ** (1 / 3))
    assert separated_interval(True, positive, np.zeros(100, dtype=np.int64)) is None


def test_an_area_near_one_has_an_interval_that_stays_below_it() -> None:
    draws = np.random.default_rng(0).normal(0.99, 0.01, 2000)
    found = logit_interval(0.99, draws, units=50)
    assert found is not None
    reach = golden.t.ppf(0.975, 49) * draws.std(ddof=1) / (0.99 * 0.01)
    odds = [99 * np.exp(sign * reach) for sign in (-1, 1)]
    assert (found.low, found.high) == pytest.approx([one / (1 + one) for one in odds])
    assert found.high < 1.0


def test_resamples_that_know_of_no_doubt_give_no_interval() -> None:
    assert logit_interval(0.5, np.full(100, 0.5), units=20) is None
    assert logit_interval(1.0, np.ones(100), units=20) is None
    assert logit_interval(0.5, np.full(100, np.nan), units=20) is None
    assert logit_interval(0.5, np.array([]), units=20) is None
    draws = np.linspace(0.4, 0.6, 100)
    draws[:6] = np.nan
    assert logit_interval(0.5, draws, units=20) is None
    draws[5] = 0.4
    assert logit_interval(0.5, draws, units=20) is not None


@pytest.mark.parametrize("groups", [None, np.array([0, 0, 1, 2, 2, 2])])
def test_draws_are_of_whole_groups_and_repeat_with_their_seed(groups: np.ndarray | None) -> None:
    drawn = np.concatenate(list(draw_weights(6, groups, resamples=500, seed=3)))
    assert drawn.shape == (500, 6)
    assert np.array_equal(drawn, np.concatenate(list(draw_weights(6, groups, resamples=500, seed=3))))
    if groups is None:
        assert (drawn.sum(axis=1) == 6).all()
    else:
        assert (drawn[:, 0] == drawn[:, 1]).all()
        assert (drawn[:, 3] == drawn[:, 5]).all()
        assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert drawn.mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("rate", "alike"), [(0.02, 0.3), (0.3, 0.3)])
def test_a_rate_over_boards_is_covered_where_images_taken_as_independent_are_not(rate: float, alike: float) -> None:
    rng = np.random.default_rng(7)
    covered = alone = 0
    trials = 400
    for _ in range(trials):
        boards = np.repeat(np.arange(40), rng.choice([2, 5, 10], 40))
        skill = rng.beta(rate * (1 - alike) / alike, (1 - rate) * (1 - alike) / alike, 40)
        has = rng.random(len(boards)) < skill[boards]
        for grouped in (True, False):
            found = rate_interval(has, boards if grouped else None)
            assert found is not None
            inside = found.low <= rate <= found.high
            covered, alone = covered + (inside and grouped), alone + (inside and not grouped)
    assert covered / trials >= 0.93
    assert alone / trials < 0.9
