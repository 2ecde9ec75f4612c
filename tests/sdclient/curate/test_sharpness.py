"""Edges, texture, and quiet parts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sdclient.curate.measures import grain, sharpness, texture
from sdcore.images.similarity import luma_of
from tests.support.images import blurred, noisy, painted, surface


def scores(picture) -> tuple[float, float, float]:  # type: ignore[no-untyped-def]
    grey = luma_of(picture)
    sharp = sharpness(grey)
    assert sharp is not None
    return sharp, texture(grey), grain(grey)


def test_blur_lowers_sharpness_and_paint_does_not() -> None:
    sharp, fine, _ = scores(surface(1))
    blurred_sharp, blurred_fine, _ = scores(blurred(surface(1), 1.5))
    painted_sharp, painted_fine, _ = scores(painted(surface(1)))
    assert blurred_sharp < 0.5 * sharp
    assert painted_sharp > 0.8 * sharp
    assert max(blurred_fine, painted_fine) < 0.5 * fine


def test_noise_leaves_nothing_quiet() -> None:
    assert scores(noisy(surface(1), 15, in_colour=False))[2] > 2 * scores(surface(1))[2]


def test_exposure_cancels_out_of_sharpness() -> None:
    grey = luma_of(surface(2))
    assert sharpness(0.5 * grey + 60) == pytest.approx(sharpness(grey), rel=0.02)


def test_motion_along_one_direction_counts() -> None:
    grey = luma_of(surface(3))
    moved = np.rint(ndimage.uniform_filter1d(grey, 7, axis=1)).astype(np.float32)
    found, still = sharpness(moved), sharpness(grey)
    assert found is not None
    assert still is not None
    assert found < 0.7 * still


def test_a_flat_picture_has_no_sharpness_and_no_texture() -> None:
    flat = np.full((32, 32), 120, dtype=np.float32)
    assert sharpness(flat) is None
    assert texture(flat) == 0
    assert grain(flat) == 0


def test_stripes_along_one_direction_are_judged_by_the_other() -> None:
    stripes = np.repeat(np.tile([0.0, 0, 0, 0, 255, 255, 255, 255], 8)[None], 64, axis=0).astype(np.float32)
    assert sharpness(stripes) == pytest.approx(sharpness(stripes.T))


def test_the_texture_is_the_median_of_what_a_gaussian_takes_away() -> None:
    grey = luma_of(surface(1))
    expected = np.median(np.abs(grey - ndimage.gaussian_filter(grey, 0.7, mode="nearest")))
    assert texture(grey) == pytest.approx(float(expected))


def test_the_grain_is_the_tenth_quietest_place() -> None:
    grey = luma_of(surface(1)).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(grey, 3, mode="edge"), (7, 7))
    expected = np.quantile(windows.std(axis=(2, 3)), 0.1)
    assert grain(luma_of(surface(1))) == pytest.approx(float(expected), rel=1e-3)
