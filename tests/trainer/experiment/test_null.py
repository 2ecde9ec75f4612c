"""A small part of bench/experiment_null.py; its figures are in the documentation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

from experiment_null import World, helped_in

SMALL = World(groups=40, images_a_group=4, generated_arms=2)


@pytest.mark.parametrize("gain", [0.0, 1.0], ids=["all arms alike", "no better than the control"])
def test_where_nothing_helps_it_is_seldom_said(gain: float) -> None:
    world = World(**{**vars(SMALL), "gain": gain, "control_gain": gain})
    found = [helped_in(number, world, resamples=200)[0] for number in range(40)]
    assert sum(found) <= 3


def test_what_helps_much_is_found() -> None:
    world = World(**{**vars(SMALL), "gain": 2.0, "generated_arms": 1})
    assert sum(helped_in(number, world, resamples=200)[0] for number in range(10)) >= 8
