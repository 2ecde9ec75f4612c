"""How like two images are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageChops, ImageDraw
from skimage.metrics import structural_similarity

from sdcore.images.similarity import (
    is_changed,
    luma_of,
    noise_level,
    retake_similarity,
    retakes,
    similarity,
    similarity_map,
)
from tests.support.images import image_of, noisy, sibling, surface


def rectangle(size: int, box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return mask


def test_a_copy_is_as_like_as_can_be() -> None:
    found = similarity(surface(1), surface(1))
    assert found.inside == pytest.approx(1.0)
    assert found.outside is None


def test_without_shift_or_exposure_it_is_the_librarys_structural_similarity() -> None:
    one, other = luma_of(surface(1)), luma_of(noisy(surface(1), 6, in_colour=False))
    residual = np.abs(np.polyval(np.polyfit(other.ravel(), one.ravel(), 1), other) - one)
    kept = residual <= np.quantile(residual, 0.9)
    exposed = np.polyval(np.polyfit(other[kept], one[kept], 1), other)
    expected = structural_similarity(one, exposed.astype(np.float32), data_range=255, full=True)[1].mean()
    found = similarity(noisy(surface(1), 6, in_colour=False), surface(1)).inside
    assert found == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (2, 2), (-2, 1)])
def test_a_shift_within_two_pixels_is_undone(shift: tuple[int, int]) -> None:
    moved = ImageChops.offset(surface(2), *shift)
    assert similarity(moved, surface(2)).inside > 0.99


def test_brightness_and_contrast_are_undone() -> None:
    base = surface(2)
    assert similarity(base.point(lambda level: level * 0.8 + 20), base).inside > 0.99


def test_two_boards_have_little_in_common() -> None:
    assert similarity(surface(1), surface(2)).inside < 0.5


def test_a_size_that_differs_is_brought_to_the_bases() -> None:
    base = surface(3)
    assert similarity(base.resize((96, 96), Image.Resampling.BICUBIC), base).inside > 0.95


def test_an_edit_shows_inside_its_mask_and_not_outside() -> None:
    base, mask = surface(4), rectangle(64, (20, 20, 40, 40))
    edited = base.copy()
    edited.paste(surface(5).crop((20, 20, 40, 40)), (20, 20))
    found = similarity(edited, base, mask)
    assert found.inside < 0.6
    assert found.outside == pytest.approx(1.0)
    assert similarity(edited, base).inside > found.inside


def test_an_untouched_image_is_alike_inside_and_outside() -> None:
    found = similarity(surface(4), surface(4), rectangle(64, (20, 20, 40, 40)))
    assert (found.inside, found.outside) == (pytest.approx(1.0), pytest.approx(1.0))


@pytest.mark.parametrize("box", [(0, 0, 64, 64), (0, 0, 0, 0)])
def test_a_mask_of_all_or_of_nothing_leaves_no_outside(box: tuple[int, int, int, int]) -> None:
    mask = rectangle(64, box) if box[2] else Image.new("L", (64, 64))
    assert similarity(surface(1), surface(1), mask).outside is None


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (6, 6)])
def test_images_too_small_for_a_window_are_compared_all_the_same(size: tuple[int, int]) -> None:
    black, white = Image.new("L", size, 0), Image.new("L", size, 255)
    assert similarity(black, black).inside == pytest.approx(1.0)
    assert similarity(white, black).inside <= 1.0


def test_flat_images_are_alike_whatever_their_level() -> None:
    assert similarity(Image.new("L", (32, 32), 90), Image.new("L", (32, 32), 100)).inside == pytest.approx(1.0)


def test_a_small_edit_is_no_exposure_even_in_black() -> None:
    edited = Image.new("L", (96, 96))
    edited.paste(255, (40, 40, 46, 46))
    assert similarity(edited, Image.new("L", (96, 96))).inside > 0.98


def test_an_image_taken_again_is_above_the_floor_and_a_sibling_below() -> None:
    for seed in range(4):
        base = surface(seed)
        floor = retake_similarity(base)
        assert all(similarity(retake, base).inside > floor for retake in retakes(base))
        assert similarity(ImageChops.offset(base, 1, 0), base).inside > floor
        assert similarity(sibling(base, seed), base).inside < floor


def test_the_floor_leaves_a_quarter_more_than_the_worst_retake_lost() -> None:
    base = surface(1)
    lowest = min(similarity(retake, base).inside for retake in retakes(base))
    assert retake_similarity(base) == pytest.approx(1 - 1.25 * (1 - lowest))


def test_the_noise_level_is_what_was_added() -> None:
    flat = np.full((200, 200), 120.0)
    flat[:, 100:] = 200
    for deviation in (2, 8):
        noise = np.random.default_rng(1).normal(0, deviation, flat.shape)
        assert noise_level(luma_of(image_of(flat + noise))) == pytest.approx(deviation, rel=0.1)


def board(seed: int, *, defect: bool = False) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    image = np.full((48, 48), 70.0)
    image[10:18] = image[30:36] = 190
    image[:, 20:25] = 190
    if defect:
        image[10:18, 30:38] = 70
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).round().astype(np.float32)


def test_the_similarity_is_scikit_images() -> None:
    one, other = board(0), board(1, defect=True)
    _, found = structural_similarity(one, other, win_size=7, data_range=255.0, full=True)
    assert np.allclose(similarity_map(one, other), found, atol=1e-3), "the library computes in single precision"
    assert float(similarity_map(one, other).mean()) == pytest.approx(float(found.mean()), abs=1e-6)


def test_a_shift_and_another_exposure_change_nothing_and_a_defect_does() -> None:
    source = image_of(board(0))
    assert not is_changed(image_of(np.roll(board(0), 1, axis=0)), source)
    assert not is_changed(image_of(board(0) * 0.9 + 10), source)
    assert not is_changed(image_of(board(9)), source)
    assert is_changed(image_of(board(9, defect=True)), source)
    assert is_changed(image_of(board(9, defect=True)), source, retake_similarity(source))


def test_a_flat_image_is_like_itself() -> None:
    flat = Image.new("L", (16, 16), 128)
    assert similarity(flat, flat).inside == 1.0
    assert not is_changed(flat, flat)


def test_luma_of_grey_is_the_grey() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (luma_of(Image.fromarray(levels)) == levels).all()
    assert (luma_of(Image.fromarray(levels).convert("RGB")) == levels).all()
