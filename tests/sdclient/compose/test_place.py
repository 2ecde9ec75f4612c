"""Places are inside, free, allowed, and fit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdclient.compose.cutout import Cutout, cut
from sdclient.compose.placement import Found, Surface, find_placement
from tests.support.compose_material import disc, surface, to_image


def cutout_of(levels: np.ndarray, centre: tuple[float, float], radius_px: float = 5) -> Cutout:  # type: ignore[type-arg]
    area = disc((levels.shape[1], levels.shape[0]), centre, radius_px)
    return cut(to_image(levels), Image.fromarray(area.astype(np.uint8) * np.uint8(255)), "1.png")


def changed(found: Found, cutout: Cutout, size: tuple[int, int]) -> np.ndarray:  # type: ignore[type-arg]
    """Where the defect would lie, by index; one outside of the picture raises."""
    assert found.spot is not None
    area = np.zeros(size, dtype=np.bool_)
    y, x = np.nonzero(cutout.support)
    y, x = y + found.spot.top, x + found.spot.left
    assert y.min() >= 0
    assert x.min() >= 0
    area[y, x] = True
    return area


def free(size: tuple[int, int] = (64, 64)) -> np.ndarray:  # type: ignore[type-arg]
    return np.zeros(size, dtype=np.bool_)


def test_a_defect_lies_wholly_inside_wherever_it_goes() -> None:
    cutout = cutout_of(surface(0), (30, 34))
    seen = set()
    for seed in range(60):
        found = find_placement(Surface(surface(7)), cutout, free(), limit=0.3, seed=seed, name="place")
        area = changed(found, cutout, (64, 64))
        assert area.sum() == cutout.support.sum()
        seen.add((found.spot.top, found.spot.left) if found.spot else None)
    assert len(seen) > 40


def test_the_same_seed_finds_the_same_place() -> None:
    cutout = cutout_of(surface(0), (30, 34))
    first, again = (
        find_placement(Surface(surface(7)), cutout, free(), limit=0.3, seed=3, name="place") for _ in range(2)
    )
    assert first == again


def test_what_is_closed_is_never_touched() -> None:
    cutout = cutout_of(surface(0), (30, 34))
    closed = free()
    closed[20:44, 10:64] = True
    for seed in range(40):
        found = find_placement(Surface(surface(7)), cutout, closed, limit=None, seed=seed, name="place")
        assert not (changed(found, cutout, (64, 64)) & closed).any()


def test_it_goes_where_the_surroundings_are_the_same() -> None:
    with_trace = surface(1)
    with_trace[:, 30:] = 30
    cutout = cutout_of(with_trace, (30, 30))
    elsewhere = surface(2)
    elsewhere[:, 45:] = 30
    for seed in range(10):
        found = find_placement(Surface(elsewhere), cutout, free(), limit=0.3, seed=seed, name="place")
        assert found.spot is not None
        columns = np.flatnonzero(changed(found, cutout, (64, 64)).any(axis=0))
        assert columns.mean() == pytest.approx(45, abs=1.0)


def test_where_nothing_fits_the_best_mismatch_is_told() -> None:
    with_trace = surface(1)
    with_trace[:, 30:] = 30
    found = find_placement(
        Surface(surface(2)), cutout_of(with_trace, (30, 30)), free(), limit=0.3, seed=0, name="place"
    )
    assert found.spot is None
    assert found.reason.startswith("no surface fits (best mismatch 0.")


def test_no_room_is_told_apart_from_no_fit() -> None:
    cutout = cutout_of(surface(0), (30, 34))
    shut = find_placement(Surface(surface(7)), cutout, ~free(), limit=None, seed=0, name="place")
    assert shut.reason == "no free or allowed area is large enough for the defect"
    small = find_placement(Surface(surface(7)[:10, :10]), cutout, free((10, 10)), limit=None, seed=0, name="place")
    assert small.reason == "the defect is larger than the picture"


def test_a_picture_as_large_as_the_defect_has_one_place() -> None:
    cutout = cutout_of(surface(0), (30, 34))
    found = find_placement(Surface(surface(7)[:11, :11]), cutout, free((11, 11)), limit=None, seed=0, name="place")
    assert changed(found, cutout, (11, 11)).sum() == cutout.support.sum()


def test_a_large_picture_is_searched_coarsely_and_met_to_the_pixel() -> None:
    size = (1500, 1100)
    with_trace = surface(1, (300, 300))
    with_trace[:, 150:] = 30
    cutout = cutout_of(with_trace, (150, 150), 40)
    large = surface(2, size)
    large[:, 777:] = 30
    closed = free((1100, 1500))
    closed[:500] = True
    for seed in range(3):
        found = find_placement(Surface(large), cutout, closed, limit=0.3, seed=seed, name="place")
        area = changed(found, cutout, (1100, 1500))
        assert not (area & closed).any()
        assert np.flatnonzero(area.any(axis=0)).mean() == pytest.approx(777, abs=0.6)
