"""Ways of joining a defect to a surface."""

from __future__ import annotations

import numpy as np
import pytest

from sdclient.compose.transplant import WAYS, Blended, Way, best_blend, blend
from tests.support.compose_material import disc, surface

SIZE = (48, 48)
ALPHA = np.clip(10.5 - np.hypot(*(np.mgrid[0:48, 0:48] - np.array([[[22]], [[26]]]))), 0, 1).astype(np.float32)
ALPHA = (np.rint(255 * ALPHA) / 255).astype(np.float32)
RING = (ALPHA == 0) & disc(SIZE, (26, 22), 16)


def with_spot(seed: int, level: float) -> np.ndarray:  # type: ignore[type-arg]
    """A surface with a spot that lies off the middle of the mask: one put a pixel beside would show."""
    pixels = surface(seed, SIZE).astype(np.float32)
    pixels[disc(SIZE, (28, 20), 4)] = level
    return pixels


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_defect_put_where_it_was_changes_nothing(way: Way, channels: int) -> None:
    pixels = with_spot(0, 230)[..., :channels]
    joined = blend(pixels, pixels, ALPHA, RING, own_gradient=1.0, how=way)
    assert np.abs(joined.levels.astype(int) - pixels).max() <= 2
    assert joined.kept_rate == pytest.approx(1, abs=0.03)
    assert joined.likeness == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("way", WAYS)
def test_outside_of_the_mask_every_pixel_is_the_surfaces(way: Way) -> None:
    there = surface(5, SIZE, (60, 80, 200)).astype(np.float32)
    joined = blend(with_spot(0, 230), there, ALPHA, RING, own_gradient=1.0, how=way)
    assert np.array_equal(joined.levels[ALPHA == 0], there[ALPHA == 0].astype(np.uint8))
    assert (joined.levels[ALPHA > 0.9] != there[ALPHA > 0.9]).any()


def test_the_feather_is_the_share_of_the_defect() -> None:
    there, patch = np.full((*SIZE, 1), 100, dtype=np.float32), np.full((*SIZE, 1), 200, dtype=np.float32)
    joined = blend(patch, there, ALPHA, RING, own_gradient=1.0, how="feather")
    assert np.abs(joined.levels[..., 0] - (100 + 100 * ALPHA)).max() <= 0.51


def test_cloning_follows_a_tone_that_the_feather_shows_a_seam_at() -> None:
    y, x = np.mgrid[0:48, 0:48]
    bump = 90 * np.exp(-((x - 26) ** 2 + (y - 22) ** 2) / 18)
    patch = (120 + bump)[..., None].astype(np.float32)
    there = np.full((*SIZE, 1), 108, dtype=np.float32)
    feather, clone = (blend(patch, there, ALPHA, RING, own_gradient=0.0, how=way) for way in WAYS[:2])
    assert clone.seam < 0.7 * feather.seam


def tried(way: Way, seam: float, kept_rate: float = 1.0, likeness: float = 1.0) -> Blended:
    return Blended(np.zeros((1, 1, 1), dtype=np.uint8), way, seam, kept_rate, likeness)


@pytest.mark.parametrize(
    ("ways", "chosen"),
    [
        ([tried("feather", 1.4), tried("clone", 1.2), tried("mixed", 1.3)], "clone"),
        ([tried("feather", 0.95), tried("clone", 0.6)], "feather"),
        ([tried("feather", 1.4), tried("clone", 1.0, kept_rate=0.8), tried("mixed", 1.3)], "mixed"),
        ([tried("feather", 1.4), tried("clone", 1.0, likeness=0.95)], "feather"),
        ([tried("feather", 1.4, likeness=0.5), tried("clone", 1.0, likeness=0.5)], "feather"),
    ],
)
def test_the_least_seam_wins_among_those_that_keep_the_defect(ways: list[Blended], chosen: str) -> None:
    assert best_blend(ways).way == chosen


def test_a_way_that_wipes_the_defect_out_is_not_taken() -> None:
    """Mixed cloning keeps the stronger gradient: a faint defect drowns in a rough surface, without any seam."""
    rng = np.random.default_rng(0)
    there = (surface(5, SIZE) + rng.normal(0, 30, (*SIZE, 1))).clip(0, 255).astype(np.float32)
    patch = with_spot(0, 140)
    mixed = blend(patch, there, ALPHA, RING, own_gradient=30.0, how="mixed")
    best = blend(patch, there, ALPHA, RING, own_gradient=30.0, how="auto")
    assert mixed.likeness < 0.9
    assert best.way == "feather"


def test_a_defect_of_two_pixels_can_be_cloned() -> None:
    alpha = np.zeros(SIZE, dtype=np.float32)
    alpha[20, 20:22] = 1
    there = surface(5, SIZE).astype(np.float32)
    joined = blend(with_spot(0, 230), there, alpha, alpha == 0, own_gradient=1.0, how="clone")
    assert np.array_equal(joined.levels[alpha == 0], there[alpha == 0].astype(np.uint8))
