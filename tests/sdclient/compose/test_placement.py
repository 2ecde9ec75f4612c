"""Places are inside, free, allowed, and fit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sdclient.compose import ComposeSettings
from sdclient.compose.cutout import Cutout, cut_out
from sdclient.compose.placement import (
    Found,
    Pose,
    Surface,
    apply_pose,
    draw_pose,
    find_placement,
    mismatch_map,
    touches,
    worst_mismatch,
)
from tests.support.compose_material import Levels, disc, surface, to_image


def cutout_of(levels: np.ndarray, centre: tuple[float, float], radius_px: float = 5) -> Cutout:  # type: ignore[type-arg]
    area = disc((levels.shape[1], levels.shape[0]), centre, radius_px)
    return cut_out(to_image(levels), Image.fromarray(area.astype(np.uint8) * np.uint8(255)), "1.png")


def changed(found: Found, cutout: Cutout, size: tuple[int, int]) -> np.ndarray:  # type: ignore[type-arg]
    """Where the defect would lie, by index; one outside of the image raises."""
    assert found.placement is not None
    area = np.zeros(size, dtype=np.bool_)
    y, x = np.nonzero(cutout.support)
    y, x = y + found.placement.top, x + found.placement.left
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
        seen.add((found.placement.top, found.placement.left) if found.placement else None)
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
        assert found.placement is not None
        columns = np.flatnonzero(changed(found, cutout, (64, 64)).any(axis=0))
        assert columns.mean() == pytest.approx(45, abs=1.0)


def test_where_nothing_fits_the_best_mismatch_is_reported() -> None:
    with_trace = surface(1)
    with_trace[:, 30:] = 30
    found = find_placement(
        Surface(surface(2)), cutout_of(with_trace, (30, 30)), free(), limit=0.3, seed=0, name="place"
    )
    assert found.placement is None
    assert found.reason.startswith("no surface fits (best mismatch 0.")


def test_no_room_and_no_fit_are_different_reasons() -> None:
    cutout = cutout_of(surface(0), (30, 34))
    shut = find_placement(Surface(surface(7)), cutout, ~free(), limit=None, seed=0, name="place")
    assert shut.reason == "no free or allowed area is large enough for the defect"
    small = find_placement(Surface(surface(7)[:10, :10]), cutout, free((10, 10)), limit=None, seed=0, name="place")
    assert small.reason == "the defect is larger than the picture"


def test_an_image_as_large_as_the_defect_has_one_place() -> None:
    cutout = cutout_of(surface(0), (30, 34))
    found = find_placement(Surface(surface(7)[:11, :11]), cutout, free((11, 11)), limit=None, seed=0, name="place")
    assert changed(found, cutout, (11, 11)).sum() == cutout.support.sum()


def test_a_large_image_is_searched_coarsely_and_met_to_the_pixel() -> None:
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


@pytest.fixture
def cutout() -> Cutout:
    """A disc with another one at its side, so that no symmetry hides a wrong turn."""
    area = disc((64, 64), (30, 34), 6) | disc((64, 64), (38, 30), 3)
    return cut_out(to_image(surface(0)), Image.fromarray(area.astype(np.uint8) * np.uint8(255)), "1.png")


@pytest.mark.parametrize("angle", [0, 90, 180, -90])
@pytest.mark.parametrize("is_flipped", [False, True])
def test_quarter_turns_move_pixels_and_compute_none(cutout: Cutout, angle: int, is_flipped: bool) -> None:
    turned = apply_pose(cutout, Pose(angle, 1.0, is_flipped))
    image = to_image(cutout.pixels.astype(np.uint8))
    if is_flipped:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert np.array_equal(turned.pixels, np.asarray(image.rotate(angle, expand=True), dtype=np.float32))
    assert turned.alpha.sum() == cutout.alpha.sum()


def test_a_free_turn_agrees_with_another_implementation(cutout: Cutout) -> None:
    turned = apply_pose(cutout, Pose(30.0))
    alpha = Image.fromarray(cutout.alpha * 255).rotate(30, Image.Resampling.BILINEAR, expand=True)
    theirs = np.asarray(alpha) / 255
    assert turned.alpha.sum() == pytest.approx(cutout.alpha.sum(), rel=0.02)
    middles = [np.argwhere(one > 0.5).mean(axis=0) - np.array(one.shape) / 2 for one in (turned.alpha, theirs)]
    assert middles[0] == pytest.approx(middles[1], abs=1.0)


@pytest.mark.parametrize("scale", [0.5, 1.3, 2.0])
def test_a_scaled_defect_covers_the_square_of_it(cutout: Cutout, scale: float) -> None:
    turned = apply_pose(cutout, Pose(scale=scale))
    assert turned.alpha.sum() == pytest.approx(scale**2 * cutout.alpha.sum(), rel=0.06)
    assert turned.ring_px == round(scale * cutout.ring_px)


def test_the_alpha_has_the_steps_of_a_mask_file(cutout: Cutout) -> None:
    alpha = apply_pose(cutout, Pose(17.0, 1.1)).alpha
    assert np.abs(alpha * 255 - np.rint(alpha * 255)).max() < 1e-3


def test_corners_that_a_turn_brings_in_are_not_known(cutout: Cutout) -> None:
    turned = apply_pose(cutout, Pose(45.0))
    assert not turned.is_known[0, 0]
    assert turned.is_known[turned.support].all()


def test_draws_stay_within_the_limits_and_use_them() -> None:
    settings = ComposeSettings(rotation_degrees=20, scale=(0.8, 1.25))
    poses = [draw_pose(settings, seed, 0) for seed in range(400)]
    angles = [pose.angle_degrees for pose in poses]
    assert -20 <= min(angles) < -18
    assert 18 < max(angles) <= 20
    scales = [pose.scale for pose in poses]
    assert 0.8 <= min(scales) < 0.82
    assert 1.23 < max(scales) <= 1.25
    assert 120 < sum(pose.is_flipped for pose in poses) < 280


def test_right_angles_respect_the_limit_and_no_flip_is_kept() -> None:
    settings = ComposeSettings(right_angles=True, rotation_degrees=100, flip=False, scale=(1, 1))
    poses = {draw_pose(settings, seed, 0) for seed in range(60)}
    assert {pose.angle_degrees for pose in poses} == {0, 90, -90}
    assert not any(pose.is_flipped for pose in poses)


def test_a_pose_follows_from_seed_and_attempt_alone() -> None:
    settings = ComposeSettings()
    assert draw_pose(settings, 5, 1) == draw_pose(settings, 5, 1)
    assert draw_pose(settings, 5, 1) != draw_pose(settings, 5, 2)


def cut_disc(levels: Levels, centre: tuple[float, float], radius_px: float = 4) -> Cutout:
    area = disc((levels.shape[1], levels.shape[0]), centre, radius_px)
    return cut_out(to_image(levels), Image.fromarray(area.astype(np.uint8) * np.uint8(255)), "1.png")


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
