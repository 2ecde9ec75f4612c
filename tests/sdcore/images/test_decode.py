"""Every mode and depth has the same pixels in all three packages."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from generator.diffusion.dataset import decode as decode_for_generator
from sdclient.sources.source import decode_photo, fit_to_model, read_photo
from sdcore.images.decode import is_grey, to_8_bit, to_rgb
from trainer.data.transforms import decode as decode_for_trainer
from trainer.models.explain import read_upright as read_to_explain

SIDE = 16
Levels = npt.NDArray[np.uint8]
RAMP: Levels = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
COLOUR = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def grey(full: float, kind: str) -> Image.Image:
    """The ramp of 256 grey levels, as a camera of this depth stores it."""
    levels = RAMP * (full / 255)
    return Image.fromarray((levels if kind == "float32" else np.floor(levels + 0.5)).astype(kind))


def colour(mode: str) -> Image.Image:
    return Image.fromarray(COLOUR).convert(mode)


def with_alpha(mode: str) -> Image.Image:
    image = colour("RGB").convert(mode)
    image.putalpha(Image.fromarray(RAMP))
    return image


def palette() -> Image.Image:
    return colour("RGB").quantize(16)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


DEEP: list[tuple[str, Callable[[], Image.Image]]] = [
    ("8.png", lambda: grey(255, "uint8")),
    ("8-in-16.png", lambda: grey(255, "uint16")),
    ("10.png", lambda: grey(1023, "uint16")),
    ("12.png", lambda: grey(4095, "uint16")),
    ("14.png", lambda: grey(16383, "uint16")),
    ("16.png", lambda: grey(65535, "uint16")),
    ("8.tif", lambda: grey(255, "uint16")),
    ("10.tif", lambda: grey(1023, "uint16")),
    ("12.tif", lambda: grey(4095, "uint16")),
    ("14.tif", lambda: grey(16383, "uint16")),
    ("16.tif", lambda: grey(65535, "uint16")),
    ("12-big-endian.tif", lambda: grey(4095, ">u2")),
    ("16-big-endian.tif", lambda: grey(65535, ">u2")),
    ("float-1.tif", lambda: grey(1, "float32")),
    ("float-4095.tif", lambda: grey(4095, "float32")),
    ("float-65535.tif", lambda: grey(65535, "float32")),
    ("int32-255.tif", lambda: grey(255, "int32")),
    ("int32-4095.tif", lambda: grey(4095, "int32")),
    ("int32-65535.tif", lambda: grey(65535, "int32")),
    ("int32-full.tif", lambda: grey(2**31 - 2**24, "int32")),
]
OTHERS: list[tuple[str, Callable[[], Image.Image], dict[str, object]]] = [
    ("1.png", lambda: colour("1"), {}),
    ("L.bmp", lambda: colour("L"), {}),
    ("L.jpg", lambda: colour("L"), {}),
    ("L-clear.png", lambda: colour("L"), {"transparency": 7}),
    ("LA.png", lambda: with_alpha("L"), {}),
    ("LA.tif", lambda: with_alpha("L"), {}),
    ("P.png", palette, {}),
    ("P.tif", palette, {}),
    ("P.bmp", palette, {}),
    ("P-clear.png", palette, {"transparency": 3}),
    ("P-alpha.png", palette, {"transparency": bytes(range(0, 160, 10))}),
    ("PA.tif", lambda: with_alpha("RGB").convert("PA"), {}),
    ("RGB.png", lambda: colour("RGB"), {}),
    ("RGB.bmp", lambda: colour("RGB"), {}),
    ("RGB.jpg", lambda: colour("RGB"), {}),
    ("RGB.tif", lambda: colour("RGB"), {}),
    ("RGB.webp", lambda: colour("RGB"), {}),
    ("RGB-clear.png", lambda: colour("RGB"), {"transparency": tuple(map(int, COLOUR[3, 3]))}),
    ("RGBA.png", lambda: with_alpha("RGB"), {}),
    ("RGBA.tif", lambda: with_alpha("RGB"), {}),
    ("RGBA.webp", lambda: with_alpha("RGB"), {"lossless": True}),
    ("RGBX.tif", lambda: colour("RGBX"), {}),
    ("CMYK.jpg", lambda: colour("CMYK"), {}),
    ("CMYK.tif", lambda: colour("CMYK"), {}),
    ("YCbCr.tif", lambda: colour("YCbCr"), {}),
    *((f"turned-{turn}.jpg", lambda: colour("RGB"), {"exif": turned(turn)}) for turn in range(1, 9)),
    *((f"turned-{turn}.png", lambda: with_alpha("L"), {"exif": turned(turn)}) for turn in range(1, 9)),
    *((f"turned-{turn}.tif", lambda: grey(4095, "uint16"), {"exif": turned(turn)}) for turn in range(1, 9)),
]


def pixels_by_package(path: Path) -> dict[str, Levels]:
    """(H, W, 3) RGB levels of a file, as each way into each package reads them."""
    return {
        "sdclient": np.asarray(fit_to_model(read_photo(path), (SIDE, SIDE))),
        "sdclient, from bytes": np.asarray(fit_to_model(decode_photo(path.read_bytes(), path.name), (SIDE, SIDE))),
        "trainer": decode_for_trainer(path, SIDE).transpose(1, 2, 0),
        "trainer, to explain": np.asarray(read_to_explain(path)),
        "generator": decode_for_generator(path, SIDE).pixels,
    }


def assert_same_everywhere(path: Path) -> Levels:
    found = pixels_by_package(path)
    for name, pixels in found.items():
        assert np.array_equal(pixels, found["sdclient"]), f"{path.name}: {name} reads other pixels than sdclient"
    return found["sdclient"]


@pytest.mark.parametrize(("name", "draw"), DEEP, ids=[name for name, _ in DEEP])
def test_grey_of_every_depth_is_the_same_grey_in_all_packages(
    tmp_path: Path, name: str, draw: Callable[[], Image.Image]
) -> None:
    draw().save(tmp_path / name)
    pixels = assert_same_everywhere(tmp_path / name)
    difference = pixels.astype(int) - RAMP[..., None]
    assert np.abs(difference).max() == 0


@pytest.mark.parametrize(("name", "draw", "options"), OTHERS, ids=[name for name, *_ in OTHERS])
def test_every_mode_has_the_same_pixels_in_all_packages(
    tmp_path: Path, name: str, draw: Callable[[], Image.Image], options: dict[str, object]
) -> None:
    draw().save(tmp_path / name, **options)
    pixels = assert_same_everywhere(tmp_path / name)
    assert pixels.std() > 10


def test_a_12_bit_level_of_2000_is_125_in_all_packages(tmp_path: Path) -> None:
    levels = np.full((SIDE, SIDE), 2000, np.uint16)
    levels[0, 0] = 4095
    Image.fromarray(levels).save(tmp_path / "12.png")
    assert assert_same_everywhere(tmp_path / "12.png")[5, 5].tolist() == [125, 125, 125]


@pytest.mark.parametrize(("brightest", "level"), [(0, 0), (200, 200), (255, 255), (256, 64), (1024, 64), (65535, 255)])
def test_the_smallest_depth_that_holds_the_brightest_pixel_counts(brightest: int, level: int) -> None:
    assert to_rgb(Image.new("I;16", (4, 4), brightest)).getpixel((1, 1)) == (level, level, level)


def test_an_image_that_needs_no_change_is_given_back_itself() -> None:
    image = colour("RGB")
    assert to_rgb(image) is image


def test_premultiplied_transparency_lies_on_white_too() -> None:
    for mode, plain in (("La", "LA"), ("RGBa", "RGBA")):
        image = Image.new(plain, (2, 2), 0)
        assert to_rgb(image.convert(mode)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I", "F", "I;16", "I;16B"])
def test_grey_stays_grey_in_8_bits_and_has_the_levels_of_rgb(mode: str) -> None:
    image = Image.new(mode, (3, 2), 1)
    assert is_grey(image)
    assert to_8_bit(image).mode == "L"
    assert to_8_bit(image).convert("RGB").tobytes() == to_rgb(image).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_colour_stays_colour_in_8_bits(mode: str) -> None:
    assert not is_grey(colour(mode))
    assert to_8_bit(colour(mode)).mode == "RGB"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_float_image_with_a_level_that_is_no_number_is_read_the_same_everywhere(tmp_path: Path, odd: float) -> None:
    levels = (RAMP / 255).astype(np.float32)
    levels[5, 5] = odd
    Image.fromarray(levels).save(tmp_path / "odd.tif")
    assert_same_everywhere(tmp_path / "odd.tif")


def test_sixteen_bits_are_scaled_and_small_values_kept() -> None:
    deep = Image.fromarray(np.array([[0, 256, 65535]], dtype=np.uint16))
    assert np.asarray(to_rgb(deep))[0, :, 0].tolist() == [0, 1, 255]
    small = Image.fromarray(np.array([[0, 7, 255]], dtype=np.uint16))
    assert np.asarray(to_rgb(small))[0, :, 0].tolist() == [0, 7, 255]


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert to_rgb(clear).getpixel((0, 0)) == (255, 255, 255)
