from __future__ import annotations

import pytest

from generator.config import make_config
from generator.diffusion.run import Budget, describe_duration


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_steps_and_minutes_both_end_a_training_and_the_first_one_counts() -> None:
    clock = Clock()
    budget = Budget(make_config(steps=100, minutes=1), clock=clock)
    assert budget.share_done(0) == 0
    assert budget.seconds_left(0) is None
    clock.now += 15
    assert budget.share_done(10) == pytest.approx(0.25)
    assert budget.share_done(50) == pytest.approx(0.5)
    assert budget.seconds_left(50) == pytest.approx(15)
    clock.now += 100
    assert budget.share_done(50) == 1


def test_time_of_earlier_starts_counts() -> None:
    clock = Clock()
    budget = Budget(make_config(minutes=2), spent_s=60, clock=clock)
    assert budget.share_done(7) == pytest.approx(0.5)
    clock.now += 30
    assert budget.spent_s == pytest.approx(90)


@pytest.mark.parametrize(("duration_s", "words"), [(0, "0:00"), (65.4, "1:05"), (3600, "1:00:00"), (3725, "1:02:05")])
def test_durations_read_like_a_clock(duration_s: float, words: str) -> None:
    assert describe_duration(duration_s) == words
