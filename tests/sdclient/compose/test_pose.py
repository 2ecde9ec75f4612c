"""Defects are turned, scaled and mirrored."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdclient.compose import ComposeSettings
from sdclient.compose.cutout import Cutout, cut
from sdclient.compose.placement import Pose, apply_pose, draw_pose
from tests.support.compose_material import disc, surface, to_image


@pytest.fixture
def cutout() -> Cutout:
    """A disc with another one at its side, so that no symmetry hides a wrong turn."""
    area = disc((64, 64), (30, 34), 6) | disc((64, 64), (38, 30), 3)
    return cut(to_image(surface(0)), Image.fromarray(area.astype(np.uint8) * np.uint8(255)), "1.png")


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


def test_right_angles_heed_the_limit_and_no_flip_is_kept() -> None:
    settings = ComposeSettings(right_angles=True, rotation_degrees=100, flip=False, scale=(1, 1))
    poses = {draw_pose(settings, seed, 0) for seed in range(60)}
    assert {pose.angle_degrees for pose in poses} == {0, 90, -90}
    assert not any(pose.is_flipped for pose in poses)


def test_a_pose_follows_from_seed_and_attempt_alone() -> None:
    settings = ComposeSettings()
    assert draw_pose(settings, 5, 1) == draw_pose(settings, 5, 1)
    assert draw_pose(settings, 5, 1) != draw_pose(settings, 5, 2)
