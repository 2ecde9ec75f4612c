"""What is sent of a source: its own file where that shows just what a server is to see, else a PNG of that."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdclient.batch import GenerationSettings
from sdclient.batch.jobs import Job, PlannedImage
from sdclient.batch.requests import (
    PreparedSource,
    RequestPreparer,
    SourceMask,
    SourcesOnDisk,
    image_to_send,
    mask_source,
    soften,
)
from sdclient.batch.settings import Inpainting
from sdclient.errors import SourceError
from sdclient.masks.mask import grow_and_feather
from sdclient.sources import Source
from sdclient.sources.source import fit_to_model, generation_size
from tests.support.masked_runs import board


def image(mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1])).convert(mode)


def job_of(path: Path, sha256: str) -> Job:
    return Job((PlannedImage(Source("dirt", 1, path), sha256, 1, 7, "k" * 64, GenerationSettings().parameters),))


def prepared(folder: Path, image: Image.Image, name: str = "1.png", **how: Any) -> tuple[PreparedSource, bytes]:
    """A source as it is sent, and its file."""
    path = folder / name
    image.save(path, **how)
    data = path.read_bytes()
    ready = RequestPreparer(64, SourcesOnDisk()).prepare(job_of(path, hashlib.sha256(data).hexdigest()))
    assert ready.request.init_images == (ready.source.data,)
    return ready.source, data


def test_a_plain_png_of_the_size_to_generate_is_sent_as_it_is(tmp_path: Path) -> None:
    source, data = prepared(tmp_path, image(), icc_profile=b"a colour profile")
    assert source.data == data
    assert source.image.tobytes() == image().tobytes()


def exif_that_turns() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


OTHERS: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
    "another size": (image(size=(96, 48)), "1.png", {}),
    "JPEG": (image(), "1.jpg", {}),
    "grey": (image("L"), "1.png", {}),
    "alpha": (image("RGBA"), "1.png", {}),
    "palette": (image("P"), "1.png", {}),
    "16 bit": (image("L").convert("I;16"), "1.png", {}),
    "turned": (image(), "1.png", {"exif": exif_that_turns()}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_is_encoded_as_the_model_wants_it(tmp_path: Path, name: str) -> None:
    image, file, how = OTHERS[name]
    source, data = prepared(tmp_path, image, file, **how)
    assert source.data != data
    with Image.open(tmp_path / file) as original, Image.open(io.BytesIO(source.data)) as sent:
        expected = fit_to_model(original, generation_size(*original.size, native_px=64))
        assert (sent.format, sent.mode, sent.size) == ("PNG", "RGB", expected.size)
        assert sent.tobytes() == expected.tobytes() == source.image.tobytes()


def test_a_file_with_wrong_checksums_is_encoded_anew(tmp_path: Path) -> None:
    image().save(tmp_path / "1.png")
    whole = (tmp_path / "1.png").read_bytes()
    damaged = whole[:-16] + bytes([whole[-16] ^ 1]) + whole[-15:]  # Pillow reads it all the same
    (tmp_path / "1.png").write_bytes(damaged)
    ready = RequestPreparer(64, SourcesOnDisk()).prepare(
        job_of(tmp_path / "1.png", hashlib.sha256(damaged).hexdigest())
    )
    with Image.open(io.BytesIO(ready.source.data)) as sent:
        assert sent.tobytes() == image().tobytes()
    assert ready.source.data != damaged


def test_a_source_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    image().save(tmp_path / "1.png")
    source = Source("dirt", 1, tmp_path / "1.png")
    with pytest.raises(SourceError, match=r"1\.png: changed during the run"):
        SourcesOnDisk().file_bytes(source, "0" * 64)
    with pytest.raises(SourceError, match=r"1\.png: changed during the run"):
        RequestPreparer(64, SourcesOnDisk()).prepare(job_of(source.path, "0" * 64))


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
def test_the_whole_shown_area_is_repainted(area: str, size: tuple[int, int]) -> None:
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
    sent = image_to_send(photo, inpainting(), (616, 416))
    assert sent.tobytes() == photo.tobytes()
    assert image_to_send(photo, inpainting(inpaint_area="whole"), (616, 416)).size == (616, 416)


def test_softening_makes_nothing_darker() -> None:
    mask = grow_and_feather(dot((40, 40), (10, 10, 20, 20)), grow_px=0, feather_px=5)
    assert soften(mask, 2).tobytes() == mask.tobytes()
    hard = dot((40, 40), (10, 10, 20, 20))
    assert soften(hard, 0).tobytes() == hard.tobytes()
    assert soften(hard, 2).getpixel((21, 15)) == 85


def put_back(kept: np.ndarray, restored: np.ndarray, shown: Image.Image) -> np.ndarray:
    images = [Image.fromarray(np.clip(array, 0, 255).astype(np.uint8)) for array in (kept, restored)]
    return np.asarray(SourceMask(shown, shown, images[0]).put_back(images[1])).astype(int)


def test_a_shift_of_tone_along_the_feather_is_removed() -> None:
    rng = np.random.default_rng(0)
    kept = rng.integers(60, 180, (64, 64, 3)).astype(int)
    shown = grow_and_feather(dot((64, 64), (20, 20, 44, 44)), grow_px=0, feather_px=3)
    drift = np.array([12, -7, 0])
    noise = rng.integers(-2, 3, kept.shape)
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
def test_a_large_difference_along_the_feather_is_left(drift: int) -> None:
    kept = np.full((40, 40), 120)
    shown = grow_and_feather(dot((40, 40), (10, 10, 30, 30)), grow_px=0, feather_px=3)
    result = put_back(kept, kept + drift, shown)
    assert (result[12:28, 12:28] == 120 + drift).all()


def test_without_a_feather_no_tone_is_shifted() -> None:
    kept = np.full((40, 40), 120)
    result = put_back(kept, kept + 9, dot((40, 40), (10, 10, 30, 30)))
    assert (result[10:30, 10:30] == 129).all()
    assert (result[:10] == 120).all()
