"""Robust slopes of noisy curves."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from trainer.evaluation.loss_trends import MIN_POINTS, robust_trend


def correlated(rng: np.random.Generator, length: int, correlation: float) -> list[float]:
    value, values = float(rng.standard_normal()), []
    for _ in range(length):
        values.append(value)
        value = correlation * value + math.sqrt(1 - correlation**2) * float(rng.standard_normal())
    return values


def test_the_slope_is_the_median_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    epochs, values = [1, 2, 4, 5, 9, 10], rng.standard_normal(6).tolist()
    slopes = [(values[b] - values[a]) / (epochs[b] - epochs[a]) for a, b in combinations(range(6), 2)]
    trend = robust_trend(epochs, values)
    assert trend.slope == pytest.approx(np.median(slopes))
    assert min(slopes) <= trend.low <= trend.slope <= trend.high <= max(slopes)
    assert trend.change == pytest.approx(9 * trend.slope)


def test_a_straight_line_and_a_flat_one_are_known_exactly() -> None:
    line = robust_trend(range(3, 13), [5 - 0.25 * x for x in range(3, 13)])
    assert (line.slope, line.low, line.high, line.steepest) == pytest.approx((-0.25, -0.25, -0.25, 0.25))
    assert line.level == pytest.approx(5 - 0.25 * 12)
    flat = robust_trend(range(8), [2.0] * 8)
    assert (flat.slope, flat.low, flat.high, flat.steepest, flat.noise, flat.correlation) == (0, 0, 0, 0, 0, 0)


def test_one_wild_epoch_does_not_turn_the_slope() -> None:
    values = [1 - 0.05 * x for x in range(12)]
    values[10] += 30
    assert robust_trend(range(12), values).slope == pytest.approx(-0.05)


def test_the_level_noise_and_bound_follow_the_points() -> None:
    rng = np.random.default_rng(1)
    trend = robust_trend(range(400), (0.01 * np.arange(400) + 0.3 * rng.standard_normal(400)).tolist())
    assert trend.noise == pytest.approx(0.3, rel=0.15)
    assert trend.correlation < 0.15
    assert trend.low < 0.01 < trend.high
    assert trend.slope < trend.steepest < trend.high


@pytest.mark.parametrize(("correlation", "most_misses"), [(0.0, 0.1), (0.5, 0.2)])
def test_the_interval_covers_a_true_slope_even_where_epochs_are_correlated(
    correlation: float, most_misses: float
) -> None:
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(120):
        trend = robust_trend(range(16), correlated(rng, 16, correlation))
        missed += not trend.low <= 0.0 <= trend.high
    assert missed / 120 <= most_misses


@pytest.mark.parametrize(
    ("epochs", "values", "words"),
    [
        (range(4), [1.0] * 4, f"{MIN_POINTS} or more"),
        (range(6), [1.0] * 5, "6 epochs and 5 values"),
        (range(6), [1.0] * 5 + [math.nan], "finite"),
        ([1, 2, 3, 3, 4], [1.0] * 5, "increasing"),
    ],
)
def test_what_has_no_slope_is_refused(epochs: list[int], values: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        robust_trend(epochs, values)
