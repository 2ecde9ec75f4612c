"""Masks drawn as boxes are drawn in to the defect."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdclient.compose.cutout import is_box, tighten_mask
from sdclient.masks.mask import grow_and_feather, rectangles_mask
from sdcore.annotations import Box
from tests.support.compose_material import disc, surface, to_image

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
def test_boxes_are_told_from_outlines(mask: Image.Image, answer: bool) -> None:
    assert is_box(mask) is answer
