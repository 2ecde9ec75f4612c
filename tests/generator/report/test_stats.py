from __future__ import annotations

import numpy as np
import pytest

from generator.report.page import figure_in_words, share_in_words
from generator.report.stats import (
    UNDEFINED,
    Figure,
    clopper_pearson,
    compare_sets,
    find_limits,
    kernel_distance,
    mean_of,
    precision_and_recall,
    random_halves,
    share_of,
)


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


def test_limits_do_not_follow_random_deviations() -> None:
    # 17 of 20 at 0.3 is between 20 and 20: pooled with its right neighbour it is 18.5 of 20, more than 90 %.
    found = find_limits([0.1, 0.3, 0.5, 0.7], shares([20, 17, 20, 0]), shares([20, 20, 20, 20]))
    assert found.low == 0.1
    assert found.high is not None
    assert 0.5 <= found.high < 0.51


def test_a_missing_range_is_reported() -> None:
    lost = find_limits([0.1, 0.5], shares([10, 5]), shares([20, 20]))
    assert (lost.low, lost.high, lost.is_range) == (0.1, None, False)
    frozen = find_limits([0.1, 0.5], shares([20, 20]), shares([0, 5]))
    assert (frozen.low, frozen.high, frozen.is_range) == (None, 0.5, False)
    crossed = find_limits([0.1, 0.5], shares([20, 0]), shares([0, 20]))
    assert crossed.low == 0.3
    assert crossed.high == 0.14
    assert not crossed.is_range
    assert find_limits([0.1], shares([0], of=0), shares([0], of=0)).images == 0


def brute_force(made: np.ndarray, real: np.ndarray, k: int) -> tuple[float, float]:
    """Kynkaanniemi's definition, one pair of images after another."""

    def inside(point: np.ndarray, centres: np.ndarray) -> bool:
        for place, centre in enumerate(centres):
            others = [float(np.linalg.norm(centre - one)) for other, one in enumerate(centres) if other != place]
            if np.linalg.norm(point - centre) <= sorted(others)[k - 1]:
                return True
        return False

    return (sum(inside(one, real) for one in made) / len(made), sum(inside(one, made) for one in real) / len(real))


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_precision_and_recall_are_those_of_the_definition(k: int, shift: float) -> None:
    rng = np.random.default_rng(k)
    made, real = rng.normal(shift, 0.7, (9, 3)), rng.normal(0, 1, (12, 3))
    assert precision_and_recall(made, real, k) == pytest.approx(brute_force(made, real, k))


def test_identical_sets_agree_and_disjoint_ones_do_not() -> None:
    points = np.random.default_rng(0).normal(size=(10, 4))
    assert precision_and_recall(points, points.copy(), 3) == (1.0, 1.0)
    assert precision_and_recall(points, points + 100, 3) == (0.0, 0.0)


def test_a_set_of_copies_of_one_real_image_is_precise_and_recalls_little() -> None:
    real = np.arange(20, dtype=float)[:, None]
    made = real[10] + np.linspace(-0.01, 0.01, 8)[:, None]
    precision, recall = precision_and_recall(made, real, 3)
    assert precision == 1.0
    assert recall == 1 / 20


def test_too_few_images_for_k_are_undefined_not_zero() -> None:
    points = np.random.default_rng(0).normal(size=(10, 4))
    assert precision_and_recall(points[:3], points, 3) == (None, None)
    assert precision_and_recall(points[:4], points, 3) != (None, None)
    found = compare_sets(points[:1], points, made_groups=["0"], real_groups=[str(one) for one in range(10)], k=3)
    assert (found.precision.value, found.recall.value, found.kernel_distance.value) == (None, None, None)


def test_the_kernel_distance_is_that_of_scikit_learns_kernel() -> None:
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    rng = np.random.default_rng(3)
    made, real = rng.normal(0.3, 1, (7, 5)), rng.normal(0, 1, (11, 5))

    def kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return pairwise.polynomial_kernel(one, other, degree=3, gamma=1 / 5, coef0=1)

    within = [kernel(one, one)[~np.eye(len(one), dtype=bool)].mean() for one in (made, real)]
    assert kernel_distance(made, real) == pytest.approx(sum(within) - 2 * kernel(made, real).mean())
    assert kernel_distance(made[:1], real) is None


def test_the_kernel_distance_of_one_distribution_is_zero_on_average() -> None:
    rng = np.random.default_rng(5)
    found = [kernel_distance(rng.normal(size=(12, 3)), rng.normal(size=(12, 3))) or 0.0 for _ in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20


def test_halves_keep_groups_together_and_draw_nothing_twice() -> None:
    groups = ["a", "a", "b", "c", "c", "c", "d"]
    sizes = set()
    for half in random_halves(groups, 60, np.random.default_rng(0)):
        names = {groups[place] for place in half}
        assert sorted(half) == [place for place, name in enumerate(groups) if name in names]
        sizes.add(len(names))
    assert sizes == {2}


def test_intervals_of_the_kernel_distance_cover_the_truth() -> None:
    # Of features uniform in [a, a + 1], (x y + 1)^3 has a closed form by their moments.
    def moments(start: float) -> list[float]:
        return [((start + 1) ** (k + 1) - start ** (k + 1)) / (k + 1) for k in (1, 2, 3)]

    def expected(one: float, other: float) -> float:
        return 1 + sum(c * a * b for c, a, b in zip((3, 3, 1), moments(one), moments(other), strict=True))

    truth = expected(0.4, 0.4) + expected(0, 0) - 2 * expected(0.4, 0)
    rng = np.random.default_rng(12)
    names = [str(one) for one in range(40)]
    covered = 0
    for number in range(40):
        made, real = rng.uniform(0.4, 1.4, (40, 1)), rng.uniform(0, 1, (40, 1))
        found = compare_sets(made, real, made_groups=names, real_groups=names, k=3, draws=40, seed=number)
        assert found.kernel_distance.low is not None
        assert found.kernel_distance.high is not None
        covered += found.kernel_distance.low <= truth <= found.kernel_distance.high
    assert covered >= 34


def test_a_share_of_all_is_no_surer_than_its_count_allows() -> None:
    points = np.random.default_rng(0).normal(size=(10, 4))
    names = [str(one) for one in range(10)]
    found = compare_sets(points, points.copy(), made_groups=names, real_groups=names, k=3, draws=20)
    assert found.precision.value == 1.0
    assert found.precision.low is not None
    assert found.precision.low <= 0.692  # 0.025 ** (1 / 10)
    assert found.precision.high == 1.0
