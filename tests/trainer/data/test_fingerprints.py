"""Fingerprints of image files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from sdcore.errors import UnreadableImage
from trainer.data.fingerprints import fingerprint, fingerprint_files, opened_image_file


def blobs(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    blobs(1).save(tmp_path / "图.png")
    return tmp_path / "图.png"


def test_the_same_image_in_other_bytes_has_the_same_pixels(image: Path) -> None:
    with Image.open(image) as opened:
        opened.save(image.with_suffix(".bmp"))
    png, bmp = fingerprint(image), fingerprint(image.with_suffix(".bmp"))
    assert png.sha256 != bmp.sha256
    assert png.pixel_sha256 == bmp.pixel_sha256
    assert png.sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
    with Image.open(image) as opened:
        pixels = opened.convert("RGB").tobytes()
    assert hashlib.sha256(b"96x80;" + pixels).hexdigest() == png.pixel_sha256


def test_grey_and_rgb_of_one_image_have_the_same_pixels_and_look(tmp_path: Path) -> None:
    grey = blobs(2).convert("L")
    grey.save(tmp_path / "l.png")
    grey.convert("RGB").save(tmp_path / "rgb.png")
    one, other = fingerprint(tmp_path / "l.png"), fingerprint(tmp_path / "rgb.png")
    assert (one.pixel_sha256, one.perceptual_hash) == (other.pixel_sha256, other.perceptual_hash)
    assert (one.mode, other.mode) == ("L", "RGB")


def test_a_turn_noted_by_the_camera_is_carried_out(tmp_path: Path) -> None:
    upright = blobs(3)
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    one, other = fingerprint(tmp_path / "upright.png"), fingerprint(tmp_path / "turned.png")
    assert one.pixel_sha256 == other.pixel_sha256
    assert (other.size, other.oddities) == ((96, 80), ("turned",))


def test_one_pixel_or_another_shape_is_another_image(tmp_path: Path) -> None:
    shapes = [(4, 2), (2, 4)]
    for place, shape in enumerate(shapes):
        Image.new("RGB", shape).save(tmp_path / f"{place}.png")
    dot = Image.new("RGB", shapes[0])
    dot.putpixel((3, 1), (0, 0, 1))
    dot.save(tmp_path / "dot.png")
    assert len({fingerprint(path).pixel_sha256 for path in tmp_path.iterdir()}) == 3


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_perceptual_hash_is_that_of_imagehash(tmp_path: Path, mode: str) -> None:
    for seed in range(20):
        drawn = blobs(seed, (40 + seed, 90 - seed)).convert(mode)
        drawn.save(tmp_path / "a.png")
        expected = imagehash.phash(drawn)
        assert f"{fingerprint(tmp_path / 'a.png').perceptual_hash:016x}" == str(expected)


def test_scaling_and_compressing_change_the_look_little(tmp_path: Path) -> None:
    blobs(4, (200, 200)).save(tmp_path / "a.png")
    blobs(4, (200, 200)).resize((120, 120)).save(tmp_path / "b.jpg", quality=60)
    blobs(5, (200, 200)).save(tmp_path / "c.png")
    a, b, c = (fingerprint(tmp_path / name).perceptual_hash for name in ("a.png", "b.jpg", "c.png"))
    assert (a ^ b).bit_count() <= 4
    assert (a ^ c).bit_count() >= 16


def test_flat_images_have_no_contrast_whatever_their_hash(tmp_path: Path) -> None:
    for level in (0, 7, 255):
        Image.new("L", (50, 50), level).save(tmp_path / "flat.png")
        assert fingerprint(tmp_path / "flat.png").contrast == 0


def test_the_coarse_grid_holds_the_means_of_its_cells(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    means = pixels.reshape(16, 2, 16, 3, 3).mean(axis=(1, 3))
    grid = np.frombuffer(fingerprint(tmp_path / "a.png").grid, dtype=np.uint8).reshape(16, 16, 3)
    assert np.abs(grid - means).max() <= 1.01, "Pillow rounds along each side"


def test_what_cannot_be_read_has_its_reason_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    found = fingerprint(tmp_path / "a.png")
    assert (found.error, found.sha256, found.size) == ("zero bytes", "", (0, 0))
    with pytest.raises(UnreadableImage, match="zero bytes"), opened_image_file(tmp_path / "a.png"):
        pass


def test_workers_change_nothing(tmp_path: Path) -> None:
    for number in range(70):
        blobs(number, (24, 24)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    paths = sorted(tmp_path.iterdir())
    alone = fingerprint_files(paths)
    assert [one.path for one in alone] == paths
    assert sum(one.error is not None for one in alone) == 1
    assert fingerprint_files(paths, workers=2) == alone
    assert fingerprint_files([], workers=2) == []


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="found -1; expected 0 or more"):
        fingerprint_files([], workers=-1)


def test_the_pixel_limit_holds_in_workers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    assert "more than 200)" in (fingerprint_files([tmp_path / "a.png"], workers=1)[0].error or "")
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208 - names alone
