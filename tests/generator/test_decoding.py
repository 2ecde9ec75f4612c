from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from generator.diffusion.dataset import decode
from sdcore.errors import DataError


def test_grey_is_told_from_colour_and_the_files_hash_is_kept(tmp_path: Path) -> None:
    Image.new("L", (16, 16), 90).save(tmp_path / "grey.png")
    Image.new("RGB", (16, 16), (90, 90, 91)).save(tmp_path / "colour.png")
    grey, colour = decode(tmp_path / "grey.png", 16), decode(tmp_path / "colour.png", 16)
    assert (grey.is_grey, colour.is_grey) == (True, False)
    assert grey.sha256 == hashlib.sha256((tmp_path / "grey.png").read_bytes()).hexdigest()
    assert grey.pixels.shape == (16, 16, 3)
    assert grey.generated_by is None


@pytest.mark.parametrize(("size", "shape"), [((64, 32), (16, 32)), ((30, 60), (32, 16)), ((16, 16), (16, 16))])
def test_the_shorter_side_becomes_the_size_and_the_shape_stays(
    tmp_path: Path, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    Image.new("L", size, 90).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", 16).pixels.shape[:2] == shape


def test_a_line_of_pixels_is_cut_before_it_fills_the_memory(tmp_path: Path) -> None:
    Image.new("L", (20_000, 2), 90).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", 16).pixels.shape[:2] == (16, 128)


def test_sixteen_bits_are_scaled_and_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (16, 16), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert (decode(tmp_path / "deep.png", 16).pixels == 156).all()
    assert (decode(tmp_path / "clear.png", 16).pixels == 255).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_depth_of_a_camera_is_taken_from_its_brightest_pixel(tmp_path: Path, bits: int) -> None:
    values = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    expected = np.floor(values * (255 / (2**bits - 1)) + 0.5)
    assert (decode(tmp_path / "deep.png", 16).pixels[..., 0] == expected).all()


def test_a_photograph_is_turned_as_its_camera_noted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (32, 16), 90).save(tmp_path / "a.jpg", exif=exif)
    assert decode(tmp_path / "a.jpg", 16).pixels.shape[:2] == (32, 16)


@pytest.mark.parametrize("keyword", ["sdclient", "parameters"])
def test_a_picture_with_a_generators_text_counts_as_generated(tmp_path: Path, keyword: str) -> None:
    chunks = PngInfo()
    chunks.add_text(keyword, "{}")
    Image.new("L", (16, 16)).save(tmp_path / "a.png", pnginfo=chunks)
    assert decode(tmp_path / "a.png", 16).generated_by


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.png"
    if content is None:
        Image.new("L", (64, 64), 3).save(path)
        content = path.read_bytes()[:60]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture.*trainer check"):
        decode(path, 16)
