"""What is sent as a mask, and how results are put back into their source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdclient.batch.requests import SourceMask, mask_source, picture_to_send, soften
from sdclient.batch.settings import Inpainting
from sdclient.masks.mask import grow_and_feather
from tests.support.masked_runs import board


def inpainting(**changes: Any) -> Inpainting:
    usual: dict[str, Any] = {
        "inpaint_fill": "original",
        "inpaint_area": "masked",
        "inpaint_padding": 32,
        "mask_blur": 2,
        "mask_sha256": "",
    }
    return Inpainting(**{**usual, **changes})


def dot(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size)
    for box in boxes:
        mask.paste(255, box)
    return mask


@pytest.mark.parametrize("area", ["masked", "whole"])
@pytest.mark.parametrize("size", [(96, 96), (640, 480), (50, 2000)])
def test_all_that_shows_is_repainted(area: str, size: tuple[int, int]) -> None:
    """Or else the server would put the source back where the feather is."""
    photo, mask = Image.new("L", size, 90), dot(size, (0, 0, 9, 3), (size[0] - 5, size[1] - 8, *size))
    source = mask_source(photo, mask, inpainting(inpaint_area=area, mask_blur=4), (512, 512))
    assert source.sent.size == (size if area == "masked" else (512, 512))
    assert set(source.sent.tobytes()) == {0, 255}
    shown, sent = np.asarray(source.shown), np.asarray(source.sent.resize(size, Image.Resampling.NEAREST))
    assert (sent[shown > 0] == 255).all()
    assert (sent == 0).any()


@pytest.mark.parametrize("offset", range(8))
def test_a_single_pixel_survives_in_latent_space(offset: int) -> None:
    """A cell of 8 x 8 is repainted if more than half of it is white; one such cell is enough for a change."""
    for place in ((200 + offset, 200), (200 + offset, 200 + offset), (200, 203 + offset)):
        mask = dot((512, 512), (*place, place[0] + 1, place[1] + 1))
        photo = Image.new("L", (512, 512), 90)
        source = mask_source(photo, mask, inpainting(inpaint_area="whole", mask_blur=0), (512, 512))
        cells = (np.asarray(source.sent) / 255).reshape(64, 8, 64, 8).mean(axis=(1, 3))
        assert (cells > 0.5).any()


def test_the_masked_area_alone_is_sent_from_the_source_as_it_is() -> None:
    photo = board((300, 200))
    sent = picture_to_send(photo, inpainting(), (616, 416))
    assert sent.tobytes() == photo.tobytes()
    assert picture_to_send(photo, inpainting(inpaint_area="whole"), (616, 416)).size == (616, 416)


def test_softening_makes_nothing_darker() -> None:
    mask = grow_and_feather(dot((40, 40), (10, 10, 20, 20)), grow_px=0, feather_px=5)
    assert soften(mask, 2).tobytes() == mask.tobytes()
    hard = dot((40, 40), (10, 10, 20, 20))
    assert soften(hard, 0).tobytes() == hard.tobytes()
    assert soften(hard, 2).getpixel((21, 15)) == 85


def put_back(kept: np.ndarray, restored: np.ndarray, shown: Image.Image) -> np.ndarray:
    images = [Image.fromarray(np.clip(array, 0, 255).astype(np.uint8)) for array in (kept, restored)]
    return np.asarray(SourceMask(shown, shown, images[0]).put_back(images[1])).astype(int)


def test_a_shift_of_tone_is_taken_back_by_what_the_feather_tells() -> None:
    chance = np.random.default_rng(0)
    kept = chance.integers(60, 180, (64, 64, 3)).astype(int)
    shown = grow_and_feather(dot((64, 64), (20, 20, 44, 44)), grow_px=0, feather_px=3)
    drift = np.array([12, -7, 0])
    noise = chance.integers(-2, 3, kept.shape)
    restored = kept + drift + noise
    restored[28:36, 28:36] = np.array((200, 20, 20)) + drift  # the defect
    result = put_back(kept, restored, shown)
    feather = (np.asarray(shown) > 0) & (np.asarray(shown) < 255)
    median = np.median((np.clip(restored, 0, 255) - kept)[feather], axis=0)
    inside = np.asarray(shown) == 255
    assert (result[inside] == (restored - median.astype(int))[inside]).all()
    assert (result[np.asarray(shown) == 0] == kept[np.asarray(shown) == 0]).all()
    assert np.abs(result[28:36, 28:36] - (200, 20, 20)).max() <= 1


@pytest.mark.parametrize("drift", [0, 33, -40])
def test_what_is_no_drift_is_left(drift: int) -> None:
    kept = np.full((40, 40), 120)
    shown = grow_and_feather(dot((40, 40), (10, 10, 30, 30)), grow_px=0, feather_px=3)
    result = put_back(kept, kept + drift, shown)
    assert (result[12:28, 12:28] == 120 + drift).all()


def test_without_a_feather_nothing_is_known_of_a_drift() -> None:
    kept = np.full((40, 40), 120)
    result = put_back(kept, kept + 9, dot((40, 40), (10, 10, 30, 30)))
    assert (result[10:30, 10:30] == 129).all()
    assert (result[:10] == 120).all()
