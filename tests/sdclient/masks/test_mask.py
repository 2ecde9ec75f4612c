"""Masks: read, written, drawn from boxes, grown, feathered, composited."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sdclient.errors import MaskError
from sdclient.masks.mask import (
    box_of,
    composite,
    grow_and_feather,
    mask_file_of,
    mask_path,
    read_mask,
    rectangles_mask,
    write_mask,
)
from sdclient.sources import Source
from sdcore.annotations import Box


def dot(size: tuple[int, int], *places: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", size)
    for place in places:
        mask.putpixel(place, 255)
    return mask


def test_a_written_mask_reads_the_same(tmp_path: Path) -> None:
    mask = Image.effect_noise((7, 5), 90)
    write_mask(tmp_path / "漏铜" / "1.png", mask)
    read = read_mask(tmp_path / "漏铜" / "1.png", (7, 5))
    assert read.mode == "L"
    assert read.tobytes() == mask.tobytes()
    assert [path.name for path in (tmp_path / "漏铜").iterdir()] == ["1.png"]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_colourless_mask_of_a_paint_program_is_taken(tmp_path: Path, mode: str) -> None:
    mask = dot((6, 6), (2, 3))
    mask.convert(mode).save(tmp_path / "1.png")
    assert read_mask(tmp_path / "1.png", (6, 6)).tobytes() == mask.tobytes()


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (6, 6), (255, 0, 0)),
        Image.new("RGBA", (6, 6), (255, 255, 255, 0)),
        Image.new("LA", (6, 6)),
        Image.new("I;16", (6, 6), 65535),
    ],
    ids=lambda image: image.mode,
)
def test_other_masks_are_refused_with_the_way_to_read_them(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "1.png")
    with pytest.raises(MaskError, match=r"1\.png: mode .*--from-masks"):
        read_mask(tmp_path / "1.png", (6, 6))


def test_a_mask_that_is_no_image_or_of_another_size_or_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"1\.png: no such mask; make it with 'sdclient mask'"):
        read_mask(tmp_path / "1.png", (6, 6))
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(MaskError, match=r"1\.png: not an image"):
        read_mask(tmp_path / "1.png", (6, 6))
    Image.new("L", (6, 7)).save(tmp_path / "1.png")
    with pytest.raises(MaskError, match=r"1\.png: a mask of 6 x 7 px; expected 6 x 6 px"):
        read_mask(tmp_path / "1.png", (6, 6))


def test_only_a_grey_mask_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 'L'"):
        write_mask(tmp_path / "1.png", Image.new("RGB", (2, 2)))
    assert list(tmp_path.iterdir()) == []


def test_rectangles_cover_every_pixel_they_touch() -> None:
    mask = rectangles_mask([Box("pad", 1.2, 2.0, 3.1, 4.0), Box("pad", 8.5, 8.5, 20.0, 8.6)], (10, 10))
    expected = np.zeros((10, 10), np.uint8)
    expected[2:4, 1:4] = 255
    expected[8, 8:] = 255
    assert (np.asarray(mask) == expected).all()


def test_no_rectangle_is_an_empty_mask() -> None:
    assert rectangles_mask([], (4, 4)).getbbox() is None
    assert rectangles_mask([Box("pad", 3.0, 3.0, 3.0, 4.0)], (4, 4)).getbbox() is None


@pytest.mark.parametrize(("grow", "feather"), [(0, 0), (3, 0), (0, 4), (5, 6), (2, 1)])
def test_growing_and_feathering_follow_the_distance(grow: int, feather: int) -> None:
    """Against an independent distance transform; the octagon's error is allowed for."""
    mask = dot((60, 50), (20, 20), (40, 30))
    levels = np.asarray(grow_and_feather(mask, grow_px=grow, feather_px=feather)).astype(int)
    distance = ndimage.distance_transform_edt(np.asarray(mask) == 0)
    assert (levels[distance <= 0.95 * grow] == 255).all()
    assert (levels[distance > 1.1 * (grow + feather) + 0.5] == 0).all()
    along_the_row = levels[20, 20 : 20 + grow + feather + 2]
    ramp = [255] * (grow + 1) + [round(255 * (1 - d / (feather + 1))) for d in range(1, feather + 1)] + [0]
    assert along_the_row.tolist() == ramp


def test_the_octagon_is_near_a_circle() -> None:
    grown = np.asarray(grow_and_feather(dot((201, 201), (100, 100)), grow_px=80, feather_px=0)) > 0
    assert abs(grown.sum() / (math.pi * 80.5**2) - 1) < 0.07


def test_growing_ends_at_the_pictures_edge() -> None:
    mask = grow_and_feather(dot((5, 4), (0, 0)), grow_px=2, feather_px=2)
    assert mask.size == (5, 4)
    assert mask.getpixel((0, 0)) == 255
    assert mask.getpixel((2, 0)) == 255
    assert mask.getpixel((4, 3)) == 0
    whole = grow_and_feather(Image.new("L", (3, 3), 255), grow_px=9, feather_px=9)
    assert whole.getextrema() == (255, 255)


def test_the_feather_of_a_mask_is_not_hard() -> None:
    mask = Image.new("L", (3, 1))
    mask.putdata([127, 128, 0])
    assert list(grow_and_feather(mask, grow_px=0, feather_px=0).tobytes()) == [0, 255, 0]


def test_an_empty_mask_stays_empty() -> None:
    assert grow_and_feather(Image.new("L", (9, 9)), grow_px=3, feather_px=3).getbbox() is None


@pytest.mark.parametrize("sizes", [{"grow_px": -1, "feather_px": 0}, {"grow_px": 0, "feather_px": -1}])
def test_negative_sizes_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected 0 or more"):
        grow_and_feather(Image.new("L", (9, 9)), **sizes)


def test_the_box_holds_the_feather_too() -> None:
    mask = dot((20, 20), (5, 7))
    assert box_of(mask) == (5, 7, 6, 8)
    assert box_of(grow_and_feather(mask, grow_px=1, feather_px=2)) == (2, 4, 9, 11)
    with pytest.raises(MaskError, match="empty mask"):
        box_of(Image.new("L", (3, 3)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_composite_keeps_black_and_takes_white_to_the_bit(mode: str) -> None:
    chance = np.random.default_rng(0)
    shape = (40, 30) if mode == "L" else (40, 30, 3)
    base, painted = (Image.fromarray(chance.integers(0, 256, shape, dtype=np.uint8)) for _ in range(2))
    levels = chance.choice(np.array([0, 1, 128, 254, 255], np.uint8), (40, 30))
    result = np.asarray(composite(base, painted, Image.fromarray(levels))).astype(float)
    assert (result[levels == 0] == np.asarray(base)[levels == 0]).all()
    assert (result[levels == 255] == np.asarray(painted)[levels == 255]).all()
    share = (levels / 255.0) if mode == "L" else (levels / 255.0)[..., None]
    exact = np.asarray(base) * (1 - share) + np.asarray(painted) * share
    assert np.abs(result - exact).max() <= 0.51


def test_what_does_not_fit_together_is_refused() -> None:
    grey, colour, mask = Image.new("L", (4, 4)), Image.new("RGB", (4, 4)), Image.new("L", (4, 4))
    with pytest.raises(ValueError, match="modes"):
        composite(grey, colour, mask)
    with pytest.raises(ValueError, match="sizes"):
        composite(grey, Image.new("L", (4, 5)), mask)


def test_masks_have_their_places() -> None:
    source = Source("漏铜", 3, Path("sources") / "漏铜" / "3.jpg")
    assert mask_path(Path("masks"), source) == Path("masks") / "漏铜" / "3.png"
    assert mask_file_of("漏铜/3_1.png") == "_masks/漏铜/3_1.png"
