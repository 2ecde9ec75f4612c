"""The mismatch of surfaces, against the same thing written as loops."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sdclient.compose.cutout import Cutout, cut
from sdclient.compose.placement import Surface, mismatch_map, touches, worst_mismatch
from tests.support.compose_material import Levels, disc, surface, to_image


def cut_disc(levels: Levels, centre: tuple[float, float], radius_px: float = 4) -> Cutout:
    area = disc((levels.shape[1], levels.shape[0]), centre, radius_px)
    return cut(to_image(levels), Image.fromarray(area.astype(np.uint8) * np.uint8(255)), "1.png")


def smoothed(pixels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.dstack([ndimage.gaussian_filter(pixels[..., c], 1.0, mode="mirror") for c in range(pixels.shape[2])])


def by_hand(pixels: np.ndarray, cutout: Cutout, y: int, x: int) -> float:  # type: ignore[type-arg]
    """The formula of the module, for one place."""
    ring = cutout.ring
    weight = ring[..., None].astype(float)
    own = smoothed(cutout.pixels * weight) / np.maximum(smoothed(np.dstack([weight] * cutout.pixels.shape[2])), 1e-6)
    smooth = smoothed(pixels)
    height, width = ring.shape
    there = smooth[y : y + height, x : x + width]
    structure = tone = 0.0
    for c in range(own.shape[2]):
        mine, other = own[..., c][ring], there[..., c][ring]
        structure += np.var(other - mine)
        tone += (other.mean() - mine.mean()) ** 2
    fine = np.sqrt(((pixels - smooth) ** 2).mean(axis=2)[y : y + height, x : x + width][ring].mean())
    own_fine = np.sqrt(((cutout.pixels - own) ** 2).mean(axis=2)[ring].mean())
    spread = np.sqrt(np.mean([np.var(own[..., c][ring]) for c in range(own.shape[2])]))
    levels = np.sqrt((structure + 0.25**2 * tone) / own.shape[2] + (fine - own_fine) ** 2)
    return float(levels / np.hypot(40.0, spread))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_map_agrees_with_the_formula_place_by_place(channels: int) -> None:
    cutout = cut_disc(surface(0)[..., :channels], (30, 34))
    rng = np.random.default_rng(4)
    pixels = ndimage.gaussian_filter(rng.normal(120, 60, (40, 44, channels)), (2, 2, 0)).astype(np.float32)
    found = mismatch_map(pixels, cutout)
    assert found.shape == (40 - cutout.ring.shape[0] + 1, 44 - cutout.ring.shape[1] + 1)
    for y, x in [(0, 0), (3, 11), (found.shape[0] - 1, found.shape[1] - 1)]:
        assert found[y, x] == pytest.approx(by_hand(pixels, cutout, y, x), rel=0.02, abs=0.002)


def test_a_place_with_the_same_surroundings_is_found() -> None:
    levels = surface(1)
    levels[:, 40:] = 20  # a trace
    defect = levels.copy()
    defect[disc((64, 64), (40, 30), 4)] = 250
    scores = mismatch_map(levels.astype(np.float32), cut_disc(defect, (40, 30), 5))
    assert np.unravel_index(scores.argmin(), scores.shape)[1] == 40 - 5 - cut_disc(defect, (40, 30), 5).ring_px
    assert scores.min() < 0.05
    assert np.median(scores) > 0.5


def test_another_texture_is_no_match_though_its_level_is() -> None:
    cutout = cut_disc(surface(0), (30, 34))
    rng = np.random.default_rng(0)
    woven = np.clip(surface(2).astype(float) + rng.normal(0, 25, (64, 64, 1)), 0, 255).astype(np.float32)
    assert mismatch_map(woven, cutout).min() > 3 * mismatch_map(surface(2).astype(np.float32), cutout).min()


def test_a_trace_that_ends_at_the_border_is_seen_though_most_of_the_ring_fits() -> None:
    plain = surface(1, colour=(120,))
    crossed = plain.copy()
    crossed[26:35, 30:] = 150  # a trace that reaches the defect from one side
    defect = crossed.copy()
    defect[disc((64, 64), (30, 30), 12)] = 250
    cutout = cut_disc(defect, (30, 30), 13)
    top = left = 30 - 13 - cutout.ring_px
    height, width = cutout.ring.shape
    there = surface(2, colour=(120,))
    apart = mismatch_map(there.astype(np.float32), cutout)[top, left]
    worst = worst_mismatch(there[top : top + height, left : left + width].astype(np.float32), cutout)
    same = worst_mismatch(crossed[top : top + height, left : left + width].astype(np.float32), cutout)
    assert apart < 0.3
    assert worst > 0.4
    assert same < 0.2


def test_touching_is_counted_pixel_by_pixel() -> None:
    area = np.zeros((9, 9), dtype=np.bool_)
    area[4, 4] = True
    support = np.array([[True, False], [True, True]])
    found = touches(area, support)
    for y in range(8):
        for x in range(8):
            assert found[y, x] == (area[y : y + 2, x : x + 2] & support).any()
    assert not touches(np.zeros((9, 9), dtype=np.bool_), support).any()


def test_a_window_over_the_border_is_mirrored() -> None:
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    window = Surface(levels).window(-2, -1, 6, 6)[..., 0]
    assert np.array_equal(window, np.pad(levels[..., 0], ((2, 1), (1, 1)), mode="reflect"))
