"""What real images teach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sdclient.curate.thresholds import (
    ENOUGH,
    RATE,
    Thresholds,
    duplicate_threshold,
    lower_limits,
    rejection_reasons,
    tail_quantile,
    upper_limits,
)


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


LIMITS = Thresholds(
    max_ssim=None,
    max_twin_ssim=None,
    max_noise=0.5,
    max_colour_garbage=0.5,
    max_grain=5.0,
    min_sharpness=0.4,
    soft=0.5,
    min_texture=0.6,
    max_tone=12.0,
    max_colour=9.0,
    max_face=0.7,
    min_p_class=None,
    max_p_normal=None,
    max_feature_distance=0.3,
)
GOOD = {
    "ssim_inside": 0.7,
    "ssim_reimaged": 0.95,
    "noise": 0.1,
    "colour_garbage": 0.0,
    "grain": 2.0,
    "sharpness": 0.8,
    "texture": 1.2,
    "tone_distance": 3.0,
    "colour_distance": 4.0,
    "face": 0.0,
    "p_class": 0.6,
    "p_normal": 0.3,
    "p_other": 0.1,
    "feature_distance": 0.1,
}


def reasons(
    limits: Thresholds = LIMITS, *, is_normal: bool = False, skip: str = "", **scores: float | None
) -> list[str]:
    return rejection_reasons({**GOOD, **scores}, limits, is_normal=is_normal, skip=frozenset(skip.split()))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({}, []),
        ({"ssim_inside": 0.95}, ["too_alike"]),
        ({"ssim_inside": 0.9499}, []),
        ({"noise": 0.51}, ["noise"]),
        ({"grain": 5.1}, ["noise"]),
        ({"colour_garbage": 0.6}, ["colour_garbage"]),
        ({"sharpness": 0.39}, ["blurred"]),
        ({"sharpness": 0.39, "texture": 0.1}, ["blurred"]),
        ({"sharpness": 0.45, "texture": 0.1}, ["blurred"]),
        ({"sharpness": None, "texture": 0.1}, ["blurred"]),
        ({"sharpness": 0.8, "texture": 0.1}, ["oil_paint"]),
        ({"tone_distance": 13.0, "colour_distance": 20.0}, ["tone"]),
        ({"colour_distance": 9.5}, ["colour"]),
        ({"face": 0.7}, ["face"]),
        ({"p_class": 0.1, "p_normal": 0.8}, ["looks_normal"]),
        ({"p_class": 0.1, "p_normal": 0.2, "p_other": 0.7}, ["wrong_class"]),
        ({"p_class": 0.4, "p_normal": 0.4, "p_other": 0.2}, []),
        ({"feature_distance": 0.31}, ["far_from_class"]),
        ({"ssim_inside": 1.0, "sharpness": 0.1, "face": 1.0}, ["too_alike", "blurred", "face"]),
    ],
)
def test_each_score_has_its_reason(scores: dict[str, float | None], expected: list[str]) -> None:
    assert reasons(**scores) == expected


def test_an_image_without_scores_is_rejected_for_nothing() -> None:
    assert rejection_reasons({}, LIMITS, is_normal=False) == []
    assert rejection_reasons(dict.fromkeys(GOOD), LIMITS, is_normal=False) == []


def test_a_filter_can_be_left_out() -> None:
    assert reasons(skip="blurred face", sharpness=0.1, face=1.0, noise=0.9) == ["noise"]


def test_a_good_board_may_look_normal() -> None:
    assert reasons(is_normal=True, p_class=0.9, p_normal=0.9) == []
    assert reasons(is_normal=True, p_class=0.2, p_normal=0.2, p_other=0.8) == ["wrong_class"]


def test_given_limits_decide_about_the_opinion() -> None:
    strict = replace(LIMITS, min_p_class=0.7, max_p_normal=0.25)
    assert reasons(strict) == ["looks_normal"]
    assert reasons(strict, p_normal=0.2, p_other=0.2) == ["wrong_class"]


def test_a_given_likeness_goes_before_the_sources_own() -> None:
    assert reasons(replace(LIMITS, max_ssim=0.6)) == ["too_alike"]
    assert reasons(replace(LIMITS, max_ssim=0.99), ssim_inside=0.98) == []


def test_a_limit_of_no_faces_at_all_still_lets_images_without_one_pass() -> None:
    assert reasons(replace(LIMITS, max_face=0.0)) == []


def test_two_images_are_twins_from_the_lower_floor_on() -> None:
    assert duplicate_threshold(GOOD, LIMITS, {"ssim_reimaged": 0.9}) == 0.9
    assert duplicate_threshold(GOOD, replace(LIMITS, max_twin_ssim=0.8), {}) == 0.8
    assert duplicate_threshold({}, LIMITS, {}) == 1.0
