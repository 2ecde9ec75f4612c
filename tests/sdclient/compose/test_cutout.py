"""A defect is cut out with the surface around it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdclient.compose.cutout import cut_out, is_box, tighten_mask
from sdclient.errors import SourceError
from sdclient.masks.mask import grow_and_feather, rectangles_mask
from sdcore.annotations import Box
from tests.support.compose_material import disc, surface, to_image


def mask_of(area: np.ndarray) -> Image.Image:  # type: ignore[type-arg]
    return Image.fromarray(area.astype(np.uint8) * np.uint8(255))


def test_the_window_holds_the_images_own_pixels_and_the_mask() -> None:
    levels, area = surface(0), disc((64, 64), (30, 34), 6)
    cutout = cut_out(to_image(levels), mask_of(area), "1.png")
    ring = cutout.ring_px
    assert np.array_equal(cutout.pixels, levels[28 - ring : 41 + ring, 24 - ring : 37 + ring].astype(np.float32))
    assert np.array_equal(cutout.support, area[28 - ring : 41 + ring, 24 - ring : 37 + ring])
    assert cutout.is_known.all()


def test_the_ring_lies_around_the_defect_and_not_on_it() -> None:
    cutout = cut_out(to_image(surface(0)), mask_of(disc((64, 64), (30, 34), 6)), "1.png")
    y, x = np.nonzero(cutout.ring)
    centre = cutout.ring_px + 6
    distance = np.hypot(x - centre, y - centre)
    assert distance.min() > 6
    assert distance.max() <= 6 + cutout.ring_px + 0.5
    assert not (cutout.ring & cutout.support).any()


def test_beyond_the_images_border_nothing_is_known() -> None:
    cutout = cut_out(to_image(surface(0)), mask_of(disc((64, 64), (2, 34), 6)), "1.png")
    assert not cutout.is_known[:, : cutout.ring_px].any()
    assert not cutout.ring[:, : cutout.ring_px].any()


def test_a_defect_that_the_border_cuts_through_fades_out_there() -> None:
    area = disc((64, 64), (2, 34), 6)
    hard = cut_out(to_image(surface(0)), mask_of(area), "1.png")
    soft = cut_out(to_image(surface(0)), mask_of(area), "1.png", fade_px=3)
    row = soft.alpha.shape[0] // 2
    first = soft.ring_px
    assert hard.alpha[row, first] == 1
    assert soft.alpha[row, first : first + 4].tolist() == pytest.approx([0.25, 0.5, 0.75, 1])


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(SourceError, match=r"pit/2.png: the mask is empty"):
        cut_out(to_image(surface(0)), Image.new("L", (64, 64)), "pit/2.png")


def test_a_mask_over_the_whole_image_is_refused() -> None:
    with pytest.raises(SourceError, match="covers nearly the whole picture"):
        cut_out(to_image(surface(0)), Image.new("L", (64, 64), 255), "pit/2.png")


BOX = rectangles_mask([Box("pit", 16, 20, 46, 50)], (64, 64))


@pytest.mark.parametrize("colour", [(120, 150, 90), (120,)])
def test_a_spot_on_a_plain_surface_is_found_in_its_box(colour: tuple[int, ...]) -> None:
    levels, spot = surface(0, colour=colour), disc((64, 64), (30, 34), 7)
    levels[spot] = 30
    found = np.asarray(tighten_mask(to_image(levels), BOX)) > 0
    assert found[spot].mean() > 0.93
    assert not (found & ~disc((64, 64), (30, 34), 9)).any()


def test_a_trace_that_runs_through_the_box_is_not_the_defect() -> None:
    levels, spot = surface(0, colour=(230,)), disc((64, 64), (32, 36), 5)
    levels[:, 32:] = 20
    levels[spot & (np.mgrid[0:64, 0:64][1] >= 32)] = 230
    found = np.asarray(tighten_mask(to_image(levels), BOX)) > 0
    box = np.asarray(BOX) > 0
    assert found.sum() < 0.4 * box.sum()
    assert found[36, 33:36].all()


def test_where_nothing_stands_out_the_box_stays() -> None:
    assert tighten_mask(to_image(surface(0)), BOX) is BOX


def test_a_mask_without_surroundings_stays() -> None:
    full = Image.new("L", (64, 64), 255)
    assert tighten_mask(to_image(surface(0)), full) is full


@pytest.mark.parametrize(
    ("mask", "answer"),
    [
        (BOX, True),
        (grow_and_feather(BOX, grow_px=3, feather_px=4), True),
        (Image.fromarray(disc((64, 64), (30, 30), 9).astype(np.uint8) * np.uint8(255)), False),
        (rectangles_mask([Box("a", 2, 2, 20, 20), Box("a", 40, 40, 60, 60)], (64, 64)), False),
        (Image.new("L", (64, 64)), False),
    ],
)
def test_boxes_are_distinguished_from_outlines(mask: Image.Image, answer: bool) -> None:
    assert is_box(mask) is answer
