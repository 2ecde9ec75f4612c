"""A defect's tone follows the surface at its new place."""

from __future__ import annotations

import numpy as np
import pytest

from sdclient.compose.transplant import match_tone

SIZE = (40, 36)


def ring_around(size: tuple[int, int] = SIZE) -> np.ndarray:  # type: ignore[type-arg]
    ring = np.ones(size, dtype=np.bool_)
    ring[8:-8, 8:-8] = False
    return ring


def grain(seed: int, level: float, spread: float, channels: int = 3) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).normal(level, spread, (*SIZE, channels)).astype(np.float32)


def test_the_level_of_each_channel_is_the_new_places() -> None:
    own, there = grain(0, 100, 2), grain(1, 100, 2) + np.array([40, -20, 5], dtype=np.float32)
    matched = match_tone(own, there, ring_around(), "mean")
    assert (matched - own).mean(axis=(0, 1)) == pytest.approx([40, -20, 5], abs=1)


def test_a_slope_of_light_is_followed() -> None:
    own = grain(0, 100, 1)
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    slope = (0.5 * x - 0.25 * y).astype(np.float32)[..., None]
    matched = match_tone(own, own + slope, ring_around(), "mean")
    assert np.abs(matched - own - slope).mean() < 1.2


def test_contrast_follows_within_its_limits() -> None:
    own, there = grain(0, 100, 10), grain(1, 100, 14)
    own[18:22, 16:20] = 180  # the defect
    full, mean = (match_tone(own, there, ring_around(), how) for how in ("full", "mean"))  # type: ignore[arg-type]
    gain = (14 + 6) / (10 + 6)
    assert (full[20, 18] - 100).mean() == pytest.approx(gain * 80, rel=0.08)
    assert (mean[20, 18] - 100).mean() == pytest.approx(80, rel=0.05)
    strong = match_tone(own, grain(1, 100, 90), ring_around(), "full")
    assert (strong[20, 18] - strong[ring_around()].mean(axis=0)).mean() == pytest.approx(1.4 * 80, rel=0.15)


def test_a_trace_that_lies_in_one_ring_alone_moves_nothing() -> None:
    own, there = grain(0, 100, 2), grain(1, 100, 2)
    there[:, :4] = 255
    matched = match_tone(own, there, ring_around(), "full")
    assert np.abs(matched - own)[ring_around()].mean() < 3


def test_none_leaves_all_as_it_is_and_so_does_an_empty_ring() -> None:
    own, there = grain(0, 100, 2), grain(1, 200, 9)
    assert np.array_equal(match_tone(own, there, ring_around(), "none"), own)
    assert np.array_equal(match_tone(own, there, np.zeros(SIZE, dtype=np.bool_), "full"), own)


def test_grey_defects_take_the_colour_of_the_surface() -> None:
    own = np.repeat(grain(0, 120, 2, 1), 3, axis=2)
    there = grain(1, 0, 2) + np.array([60, 140, 70], dtype=np.float32)
    matched = match_tone(own, there, ring_around(), "full")
    assert matched.mean(axis=(0, 1)) == pytest.approx([60, 140, 70], abs=2)


def test_the_same_trace_around_both_keeps_the_contrast_of_two_level_pictures() -> None:
    """Half black, half white: a robust deviation jumps from 0 to all there is when a few pixels change sides."""
    own = np.zeros((*SIZE, 1), dtype=np.float32)
    own[:, 18:] = 255
    there = np.zeros((*SIZE, 1), dtype=np.float32)
    there[:, 17:] = 255
    matched = match_tone(own, there, ring_around(), "full")
    assert np.abs(matched - own).max() < 6
    paler = match_tone(own, 0.8 * there, ring_around(), "full")
    assert np.ptp(paler) == pytest.approx(0.8 * 255, rel=0.06)
