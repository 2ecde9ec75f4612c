"""Draws by seed: the same for ever, evenly spread, unrelated from seed to seed and name to name."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sdclient.output.planned_images import DRAWN_DIGITS, Choice, Range, draw_index, draw_number, seed_base

SEEDS = range(seed_base(0, "焊盘", 3), seed_base(0, "焊盘", 3) + 20_000)
"""As one source's images have them: consecutive."""
IMPROBABLE = 1e-3
"""The seeds are fixed, so a test at this level passes always or never."""

thousandths = st.integers(0, 1000).map(lambda step: step / 1000)


def test_draws_stay_what_they_are() -> None:
    """Golden values: if these change, no output folder with drawn settings made before can be resumed."""
    assert [draw_index(seed, "denoising_strength", 1000) for seed in (0, 1, 2, 2**32 - 1)] == [215, 851, 859, 964]
    strength = Range(0.2, 0.3)
    assert [draw_number(strength, seed, "denoising_strength") for seed in (0, 1, 2, 2**32 - 1)] == [
        0.239,
        0.233,
        0.284,
        0.226,
    ]
    assert [draw_number(Choice((5, 7, 9)), seed, "cfg_scale") for seed in (0, 1, 2, 2**32 - 1)] == [5, 9, 7, 5]


@pytest.mark.parametrize("count", [2, 3, 101])
def test_each_place_is_as_likely_as_any_other(count: int) -> None:
    drawn = Counter(draw_index(seed, "denoising_strength", count) for seed in SEEDS)
    assert stats.chisquare([drawn[place] for place in range(count)]).pvalue > IMPROBABLE


def test_both_ends_of_a_range_are_as_likely_as_its_middle() -> None:
    drawn = Counter(draw_number(Range(0.2, 0.21), seed, "denoising_strength") for seed in SEEDS)
    assert sorted(drawn) == [0.2, 0.201, 0.202, 0.203, 0.204, 0.205, 0.206, 0.207, 0.208, 0.209, 0.21]
    assert stats.chisquare(list(drawn.values())).pvalue > IMPROBABLE


def test_a_number_that_stands_in_a_list_twice_is_drawn_twice_as_often() -> None:
    drawn = Counter(draw_number(Choice((0.2, 0.3, 0.2)), seed, "denoising_strength") for seed in SEEDS)
    expected = [len(SEEDS) * 2 / 3, len(SEEDS) / 3]
    assert stats.chisquare([drawn[0.2], drawn[0.3]], expected).pvalue > IMPROBABLE


@pytest.mark.parametrize(
    "pairs",
    [
        [(draw_index(seed, "cfg_scale", 4), draw_index(seed, "denoising_strength", 4)) for seed in SEEDS],
        [(draw_index(seed, "cfg_scale", 4), draw_index(seed + 1, "cfg_scale", 4)) for seed in SEEDS],
    ],
    ids=["two names of one seed", "two neighbouring seeds"],
)
def test_draws_are_independent(pairs: list[tuple[int, int]]) -> None:
    counted = Counter(pairs)
    table = [[counted[row, column] for column in range(4)] for row in range(4)]
    assert stats.chi2_contingency(table).pvalue > IMPROBABLE


@given(st.integers(0, 2**64), st.text(), st.integers(1, 10**6))
def test_a_draw_stays_within_its_bounds(seed: int, name: str, count: int) -> None:
    assert 0 <= draw_index(seed, name, count) < count
    assert draw_index(seed, name, count) == draw_index(seed, name, count)


@given(thousandths, thousandths, st.integers(0, 2**32 - 1))
def test_a_number_from_a_range_lies_in_it_and_its_text_says_all_of_it(one: float, other: float, seed: int) -> None:
    low, high = sorted((one, other))
    drawn = draw_number(Range(low, high), seed, "denoising_strength")
    assert low <= drawn <= high
    assert drawn == float(f"{drawn:.{DRAWN_DIGITS}f}")


def test_a_range_of_one_number_gives_that_number() -> None:
    assert {draw_number(Range(0.25, 0.25), seed, "denoising_strength") for seed in range(50)} == {0.25}


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(0, 2**32 - 1))
def test_a_number_from_a_list_is_one_of_it_to_the_last_bit(values: list[float], seed: int) -> None:
    assert draw_number(Choice(tuple(values)), seed, "denoising_strength") in values
