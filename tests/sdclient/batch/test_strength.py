"""Strengths follow what was rejected: up after too alike, down after unreal, and quickly to where both are rare."""

from __future__ import annotations

import math
import random

import pytest

from sdclient.batch.strength import StrengthLearner, StrengthRange
from sdcore.errors import SettingsError


def learner(low: float = 0.15, high: float = 0.45, start: float = 0.25) -> StrengthLearner:
    return StrengthLearner(StrengthRange(low, high, start))


def test_the_first_strength_is_the_start() -> None:
    assert learner().expect("pit", "1.png").strength == 0.25
    assert learner(start=0.4).expect("pit", "1.png").strength == 0.4


def test_too_alike_raises_and_unreal_lowers() -> None:
    up, down = learner(), learner()
    up.observe("pit", "1.png", 0.25, too_alike=True, unreal=False)
    down.observe("pit", "1.png", 0.25, too_alike=False, unreal=True)
    assert up.expect("pit", "1.png").strength > 0.25
    assert down.expect("pit", "1.png").strength < 0.25


def test_it_stays_within_the_range() -> None:
    up, down = learner(), learner()
    for _ in range(20):
        up.observe("pit", "1.png", up.expect("pit", "1.png").strength, too_alike=True, unreal=False)
        down.observe("pit", "1.png", down.expect("pit", "1.png").strength, too_alike=False, unreal=True)
    assert up.expect("pit", "1.png").strength == 0.45
    assert down.expect("pit", "1.png").strength == 0.15


def test_siblings_move_a_new_source_and_another_class_does_not() -> None:
    one = learner()
    for number in range(6):
        one.observe("pit", f"{number}.png", 0.25, too_alike=True, unreal=False)
    assert one.expect("pit", "new.png").strength > 0.25
    assert one.expect("dirt", "new.png").strength == 0.25


def test_an_own_image_counts_more_than_a_siblings() -> None:
    own, sibling = learner(), learner()
    own.observe("pit", "1.png", 0.25, too_alike=True, unreal=False)
    sibling.observe("pit", "2.png", 0.25, too_alike=True, unreal=False)
    assert own.expect("pit", "1.png").strength > sibling.expect("pit", "1.png").strength > 0.25


def test_the_expectation_is_that_of_the_model_in_its_docstring() -> None:
    one = learner()
    seen = [("1.png", 0.25, True, False), ("1.png", 0.31, False, False), ("2.png", 0.35, False, True)]
    for source, strength, too_alike, unreal in seen:
        one.observe("pit", source, strength, too_alike=too_alike, unreal=unreal)
    found = one.expect("pit", "1.png")

    def rejected(distance: float) -> float:
        return 0.04 + 0.92 / (1 + math.exp(-distance / 0.025))

    limits = [0.25 + 0.0125 * step for step in range(-24, 25)]  # 0.3 on either side
    of_alike, of_unreal = [], []
    for limit in limits:
        alike = unreal = 1.0
        for source, strength, was_alike, was_unreal in seen:
            weight = 1.0 if source == "1.png" else 0.25
            p, q = rejected(limit - strength), rejected(strength - limit)
            alike *= (p if was_alike else 1 - p) ** weight
            unreal *= (q if was_unreal else 1 - q) ** weight
        of_alike.append(alike)
        of_unreal.append(unreal)

    def accepted(strength: float) -> float:
        differs = sum(w * (1 - rejected(a - strength)) for a, w in zip(limits, of_alike, strict=True)) / sum(of_alike)
        real = sum(w * (1 - rejected(strength - b)) for b, w in zip(limits, of_unreal, strict=True)) / sum(of_unreal)
        return differs * real

    assert found.acceptance == pytest.approx(accepted(found.strength), rel=1e-9)
    assert found.acceptance == pytest.approx(max(accepted(n / 100) for n in range(15, 46)), rel=1e-9)


@pytest.mark.parametrize(("alike_below", "unreal_above"), [(0.18, 0.24), (0.27, 0.33), (0.36, 0.44)])
def test_it_finds_a_narrow_window_within_a_few_images(alike_below: float, unreal_above: float) -> None:
    rng = random.Random(1)
    one = learner()
    wrong = 0
    for _ in range(12):
        strength = one.expect("pit", "1.png").strength
        alike = strength < alike_below + rng.gauss(0, 0.005)
        unreal = strength > unreal_above + rng.gauss(0, 0.005)
        wrong += alike or unreal
        one.observe("pit", "1.png", strength, too_alike=alike, unreal=unreal)
    assert wrong <= 4
    assert alike_below < one.expect("pit", "1.png").strength < unreal_above


@pytest.mark.parametrize("text", ["0.4", "0.4:0.2", "0:0.3", "0.2:1.5", "a:b", "nan:0.4", "0.1:0.2:0.3"])
def test_an_invalid_range_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"0\.15:0\.45"):
        StrengthRange.parse(text)


def test_a_start_outside_of_the_range_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"0\.5.*outside"):
        StrengthRange.parse("0.15:0.45", 0.5)
    assert StrengthRange.parse("0.15:0.45").start == 0.3
