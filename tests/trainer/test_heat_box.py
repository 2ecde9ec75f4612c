from __future__ import annotations

import numpy as np
import pytest

from trainer.models.explain import HeatBox, find_hot_box, scale_box


def test_the_box_holds_the_region_around_the_peak_and_nothing_apart_from_it() -> None:
    heat = np.zeros((8, 10))
    heat[2:5, 3:7] = 0.6
    heat[3, 5] = 1.0
    heat[7, 9] = 0.9  # as hot, but elsewhere
    found = find_hot_box(heat, level=0.5)
    assert found == HeatBox(peak_x=5, peak_y=3, x0=3, y0=2, x1=7, y1=5, share=pytest.approx(7.6 / 8.5))


def test_regions_that_touch_at_a_corner_are_one() -> None:
    found = find_hot_box(np.diag([1.0, 0.8, 0.8, 0.0]), level=0.5)
    assert found is not None
    assert (found.x0, found.y0, found.x1, found.y1) == (0, 0, 3, 3)


def test_the_level_is_reached_by_equality_and_missed_below() -> None:
    heat = np.array([[1.0, 0.5, 0.4999, 0.0]])
    found = find_hot_box(heat, level=0.5)
    assert found is not None
    assert (found.x0, found.x1) == (0, 2)


def test_the_peak_of_a_plateau_is_its_middle_even_of_a_ring() -> None:
    heat = np.zeros((9, 9))
    heat[2:7, 1:6] = 2.0
    found = find_hot_box(heat)
    assert found is not None
    assert (found.peak_x, found.peak_y) == (3, 4)
    heat[4, 3] = 1.0  # the middle itself is no longer hottest: a neighbour of it is
    ring = find_hot_box(heat)
    assert ring is not None
    assert heat[ring.peak_y, ring.peak_x] == 2.0
    assert abs(ring.peak_x - 3) + abs(ring.peak_y - 4) == 1


def test_of_two_equal_peaks_the_first_by_rows_counts() -> None:
    heat = np.zeros((6, 6))
    heat[1, 4] = heat[4, 1] = 3.0
    found = find_hot_box(heat)
    assert found == HeatBox(4, 1, 4, 1, 5, 2, share=0.5)


@pytest.mark.parametrize("value", [0.0, -2.0, 0.7])
def test_a_flat_map_points_nowhere(value: float) -> None:
    assert find_hot_box(np.full((4, 5), value)) is None


def test_a_map_without_heat_above_0_points_nowhere() -> None:
    assert find_hot_box([[-3.0, -1.0], [0.0, -2.0]]) is None


def test_negative_heat_counts_as_none() -> None:
    found = find_hot_box([[2.0, -50.0, 0.0, 2.0 - 1e-9]])
    assert found is not None
    assert (found.x0, found.x1) == (0, 1)
    assert found.share == pytest.approx(0.5)


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_the_unit_of_heat_does_not_matter(factor: float) -> None:
    heat = np.random.default_rng(0).random((6, 7))
    one, other = find_hot_box(heat), find_hot_box(heat * factor)
    assert one is not None
    assert other is not None
    assert other.share == pytest.approx(one.share)
    assert (other.peak_x, other.x0, other.y1) == (one.peak_x, one.x0, one.y1)


@pytest.mark.parametrize(
    ("heat", "level", "words"),
    [
        ([[0.0, np.nan]], 0.5, "not finite"),
        ([[0.0, np.inf]], 0.5, "not finite"),
        ([1.0, 2.0], 0.5, r"shape \(2,\)"),
        (np.zeros((0, 3)), 0.5, r"shape \(0, 3\)"),
        ([[0.0, 1.0]], 0.0, "level: 0"),
        ([[0.0, 1.0]], 1.5, "level: 1.5"),
    ],
)
def test_what_is_no_map_is_refused(heat: object, level: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        find_hot_box(heat, level=level)  # type: ignore[arg-type]


def test_a_box_is_scaled_side_by_side_and_rounded_outwards() -> None:
    box = HeatBox(peak_x=1, peak_y=2, x0=1, y0=1, x1=2, y1=3, share=0.4)
    assert scale_box(box, size=(4, 4), to=(8, 4)) == HeatBox(3, 2, 2, 1, 4, 3, 0.4)
    small = scale_box(box, size=(4, 4), to=(3, 1))
    assert (small.x0, small.y0, small.x1, small.y1) == (0, 0, 2, 1)
    whole = scale_box(HeatBox(63, 63, 0, 0, 64, 64, 1.0), size=(64, 64), to=(101, 37))
    assert (whole.x0, whole.y0, whole.x1, whole.y1) == (0, 0, 101, 37)
    assert whole.peak_x < 101
    assert whole.peak_y < 37
