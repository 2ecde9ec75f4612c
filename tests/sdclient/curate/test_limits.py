"""What real images teach."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sdclient.curate.thresholds import ENOUGH, RATE, lower_limits, tail_quantile, upper_limits


def test_an_exponential_tail_is_extrapolated_to_its_true_quantile() -> None:
    values = stats.expon(loc=3, scale=2).ppf((np.arange(4000) + 0.5) / 4000)
    assert tail_quantile(values, 0.005) == pytest.approx(stats.expon(loc=3, scale=2).isf(0.005), rel=0.02)


def test_limits_learnt_from_thirty_cost_few_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    lost = []
    for _ in range(200):
        limit = upper_limits({"pit": rng.normal(10, 2, 30)}, least=0)["pit"].value
        lost.append(float(stats.norm(10, 2).sf(limit)))
    assert np.mean(lost) < 2.5 * RATE


def test_a_lower_limit_is_the_upper_one_of_the_negated() -> None:
    values = np.random.default_rng(1).gamma(4, 2, 50)
    upper = upper_limits({"pit": -values}, least=-100)["pit"].value
    assert lower_limits({"pit": values}, most=100)["pit"].value == pytest.approx(-upper)


def test_a_small_class_borrows_the_spread_of_the_others() -> None:
    rng = np.random.default_rng(2)
    many = rng.normal(0, 3, 200)
    few = 50 + 0.01 * rng.normal(0, 1, 8)
    limits = upper_limits({"many": many, "few": few}, least=0)
    assert limits["few"].is_pooled
    assert limits["few"].value > 52
    assert not limits["many"].is_pooled
    assert limits["many"].value < 15


def test_a_class_of_four_takes_all_images_as_they_are() -> None:
    many = np.random.default_rng(3).normal(10, 1, ENOUGH)
    limits = upper_limits({"many": many, "few": [1.0, 2.0, 1.0, 1.5], "none": []}, least=0)
    pooled = tail_quantile(np.concatenate([many, [1.0, 2.0, 1.0, 1.5]]), RATE)
    assert limits["few"].value == pytest.approx(max(pooled, 2.0))
    assert limits["none"].value == pytest.approx(pooled)


def test_alike_images_do_not_make_a_limit_of_nothing() -> None:
    assert upper_limits({"pit": np.zeros(40)}, least=2)["pit"].value == 2
    assert lower_limits({"pit": np.ones(40)}, most=0.9)["pit"].value == 0.9


def test_no_real_image_at_all_gives_no_limit() -> None:
    assert upper_limits({"pit": []}, least=0) == {}


def test_one_value_is_its_own_tail() -> None:
    assert tail_quantile([4.0], 0.01) == 4.0
