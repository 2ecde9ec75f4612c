"""Intervals and tests against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats as golden

from trainer.evaluation.metrics import binary_rate_of_confusion, macro_f1_of_confusion
from trainer.evaluation.stats import (
    binomial_cdf,
    bootstrap_arms,
    bootstrap_p,
    clopper_pearson,
    draw_weights,
    effective_images,
    holm,
    known_groups,
    logit_interval,
    mcnemar_exact,
    percentile_interval,
    rate_interval,
    separated_interval,
)


def accuracy(table: np.ndarray) -> np.ndarray:
    return binary_rate_of_confusion(table, "accuracy", normal=0)


def one_table_an_image(right: np.ndarray) -> np.ndarray:
    """(S, N) right or wrong -> (S, N, 2, 2) counts; every image is Normal."""
    table = np.zeros((*right.shape, 2, 2))
    table[..., 0, 0] = right
    table[..., 0, 1] = ~right
    return table


@given(st.integers(1, 400).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_clopper_pearson_agrees_with_scipy(case: tuple[int, int]) -> None:
    count, of = case
    interval = clopper_pearson(count, of)
    expected = golden.binomtest(count, of).proportion_ci(method="exact")
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0.0 <= interval.low <= count / of <= interval.high <= 1.0


def test_clopper_pearson_over_nothing_is_undefined() -> None:
    assert clopper_pearson(0, 0) is None


def test_no_miss_among_299_defects_is_what_proves_one_percent() -> None:
    # One-sided 95 % is the upper end of the two-sided 90 % interval.
    enough, short = clopper_pearson(0, 299, confidence=0.9), clopper_pearson(0, 298, confidence=0.9)
    assert enough is not None
    assert short is not None
    assert enough.high < 0.01 < short.high


def test_clopper_pearson_keeps_its_coverage_at_small_rates() -> None:
    # FACTS: Wilson falls to 91.1 % at n = 50, p = .01. Summed over the binomial itself, so nothing is drawn.
    n, p = 50, 0.01
    covered = sum(
        golden.binom.pmf(k, n, p)
        for k in range(n + 1)
        if (interval := clopper_pearson(k, n)) is not None and interval.low <= p <= interval.high
    )
    assert covered >= 0.95


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_agrees_with_scipy_and_knows_no_order(a: int, b: int) -> None:
    expected = golden.binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
    assert mcnemar_exact(a, b) == pytest.approx(expected)
    assert mcnemar_exact(b, a) == pytest.approx(expected)


def test_mcnemar_by_hand() -> None:
    assert mcnemar_exact(0, 6) == pytest.approx(2 * 0.5**6)
    assert mcnemar_exact(0, 0) == 1.0


def test_chance_of_at_most_by_hand() -> None:
    assert binomial_cdf(1, 3, 0.5) == pytest.approx(0.5)


def test_the_same_predictions_differ_by_exactly_nothing() -> None:
    table = one_table_an_image(np.random.default_rng(0).random((1, 50)) < 0.8)
    drawn = bootstrap_arms([table, table], {"accuracy": accuracy}, resamples=200)["accuracy"].values
    interval = percentile_interval(drawn[1] - drawn[0])
    assert interval is not None
    assert (interval.low, interval.high) == (0.0, 0.0)


def test_draws_repeat_with_their_seed_and_not_with_another() -> None:
    table = one_table_an_image(np.random.default_rng(0).random((2, 50)) < 0.8)
    first, again, other = (
        bootstrap_arms([table], {"accuracy": accuracy}, resamples=50, seed=seed)["accuracy"].values
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_one_training_varies_as_the_binomial_does() -> None:
    right = np.arange(400) < 320
    drawn = bootstrap_arms([one_table_an_image(right[None])], {"accuracy": accuracy})["accuracy"].values[0]
    assert drawn.mean() == pytest.approx(0.8, abs=0.003)
    assert drawn.std() == pytest.approx(np.sqrt(0.8 * 0.2 / 400), rel=0.08)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_pure_seed_variance_gives_the_interval_of_the_t_test(seeds: int) -> None:
    # Every image alike within a seed, so that all variance is between seeds, and the groups tell nothing.
    shares = np.linspace(0.49, 0.51, seeds)
    table = np.zeros((seeds, 40, 2, 2))
    table[..., 0, 0] = shares[:, None]
    table[..., 0, 1] = 1 - shares[:, None]
    drawn = bootstrap_arms([table], {"accuracy": accuracy}, resamples=40_000)["accuracy"].values[0]
    interval = percentile_interval(drawn)
    expected = golden.t.interval(0.95, seeds - 1, loc=shares.mean(), scale=golden.sem(shares))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]))


def test_two_seeds_that_differ_much_leave_no_interval_beyond_what_a_rate_can_be() -> None:
    shares = np.array([0.5, 0.95])
    table = np.zeros((2, 40, 2, 2))
    table[..., 0, 0] = shares[:, None]
    table[..., 0, 1] = 1 - shares[:, None]
    drawn = bootstrap_arms([table, table], {"accuracy": accuracy})["accuracy"].values
    assert (drawn.min(), drawn.max()) == (0.0, 1.0)
    interval = percentile_interval(drawn[1] - drawn[0])
    assert interval is not None
    assert -1 <= interval.low < -0.5 < 0.5 < interval.high <= 1


def test_seeds_that_differ_by_the_luck_of_images_alone_add_no_variance_of_their_own() -> None:
    # Each seed errs on images of its own: the mean over seeds varies as S times as many images would.
    rng = np.random.default_rng(5)
    spreads = []
    for _ in range(40):
        table = one_table_an_image(rng.random((5, 200)) < 0.8)
        spreads.append(
            np.subtract(
                *np.percentile(bootstrap_arms([table], {"a": accuracy}, resamples=400)["a"].values[0], [84, 16])
            )
        )
    expected = 2 * golden.norm.ppf(0.84) * np.sqrt(0.8 * 0.2 / (5 * 200))
    assert np.mean(spreads) == pytest.approx(expected, rel=0.25)


def test_images_of_one_group_are_drawn_together() -> None:
    right = np.repeat(np.arange(20) < 14, 10)[None]
    alone = one_table_an_image(right)
    grouped = alone.reshape(1, 20, 10, 2, 2).sum(axis=2)
    spread_alone, spread_grouped = (
        bootstrap_arms([table], {"accuracy": accuracy})["accuracy"].values.std() for table in (alone, grouped)
    )
    assert spread_grouped == pytest.approx(spread_alone * np.sqrt(10), rel=0.1)


def test_pairing_takes_out_what_is_common() -> None:
    rng = np.random.default_rng(3)
    first = rng.random(300) < 0.7
    second = first.copy()
    second[:6] = ~second[:6]
    tables = [one_table_an_image(right[None]) for right in (first, second)]
    drawn = bootstrap_arms(tables, {"accuracy": accuracy})["accuracy"].values
    assert (drawn[1] - drawn[0]).std() < 0.4 * drawn[0].std()


def test_chunks_make_no_difference_to_the_shape() -> None:
    table = one_table_an_image(np.ones((1, 3000), dtype=bool))
    drawn = bootstrap_arms([table, table], {"accuracy": accuracy}, resamples=1500)["accuracy"].values
    assert drawn.shape == (2, 1500)
    assert np.all(drawn == 1.0)


def test_arms_over_other_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        bootstrap_arms([np.ones((1, 3, 2, 2)), np.ones((1, 4, 2, 2))], {"accuracy": accuracy})


def test_too_many_undefined_draws_leave_no_interval() -> None:
    values = np.arange(100.0)
    values[:5] = np.nan
    assert percentile_interval(values) is not None
    values[:6] = np.nan
    assert percentile_interval(values) is None
    assert percentile_interval(np.array([])) is None


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    # 300 small experiments under the null: two arms of 3 seeds, 120 images, the same skill with seed variance.
    rng = np.random.default_rng(11)
    covered = 0
    trials = 300
    for trial in range(trials):
        hard = rng.normal(0, 1, 120)
        tables = []
        for _ in range(2):
            skill = rng.normal(1.0, 0.25, (3, 1))
            tables.append(one_table_an_image(rng.normal(0, 1, (3, 120)) + hard < skill))
        drawn = bootstrap_arms(tables, {"accuracy": accuracy}, resamples=400, seed=trial)["accuracy"].values
        interval = percentile_interval(drawn[1] - drawn[0])
        assert interval is not None
        covered += interval.low <= 0.0 <= interval.high
    assert 0.88 <= covered / trials <= 0.99


def test_macro_f1_is_resampled_over_the_classes_that_were_drawn() -> None:
    table = np.zeros((1, 3, 3, 3))
    table[0, 0, 0, 0] = table[0, 1, 1, 1] = table[0, 2, 2, 2] = 1
    drawn = bootstrap_arms([table], {"f1": macro_f1_of_confusion}, resamples=200)["f1"].values
    assert np.all(drawn == 1.0)


def test_holm_by_hand_and_in_the_order_given() -> None:
    # Sorted .01 .02 .03 .04: x4 = .04, x3 = .06, x2 = .06, x1 = .04 -> not below .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(q >= p for p, q in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def test_a_bootstrap_p_value_is_small_only_where_the_interval_leaves_zero_out() -> None:
    values = np.arange(-24, 976) / 1000  # 25 of 1000 at or below 0
    assert bootstrap_p(values) == pytest.approx(2 * 26 / 1001)
    assert bootstrap_p(np.zeros(50)) == 1.0
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.full(10, np.nan)) is None
    assert bootstrap_p(np.array([])) is None


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
