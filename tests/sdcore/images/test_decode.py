"""Every mode and depth has the same pixels in all three packages."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from generator.diffusion.dataset import decode as dataset_decode, decode as decode_for_generator
from sdclient.errors import BadImage
from sdclient.models._base import from_base64, to_base64
from sdclient.sources.source import fit_to_model, read_photo
from sdcore.errors import DataError, UnreadableImage
from sdcore.images.decode import image_bytes, image_format, is_grey, read_image, to_8_bit, to_png, to_rgb
from tests.support.webui import png_bytes
from trainer.data.fingerprints import ODDITIES, find_oddities, fingerprint, opened_image_file
from trainer.data.transforms import decode as decode_for_trainer, read_rgb as read_to_explain

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
        "sdclient, from bytes": np.asarray(fit_to_model(read_photo(path.read_bytes(), path.name), (SIDE, SIDE))),
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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_the_format_is_known_by_the_bytes(kind: str) -> None:
    if kind not in Image.registered_extensions().values():
        pytest.skip(f"this Pillow cannot write {kind}")
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind)
    assert image_format(buffer.getvalue()) == kind


def test_other_bytes_have_no_format() -> None:
    assert image_format(b"") is None
    assert image_format(b"RIFF1234WAVE") is None


def test_pixels_survive_base64_both_ways() -> None:
    image = Image.effect_noise((16, 16), 50)
    assert read_image(from_base64(to_base64(to_png(image)))).tobytes() == image.tobytes()


def test_a_data_url_is_accepted() -> None:
    assert from_base64("data:image/png;base64," + to_base64(png_bytes())) == png_bytes()


def test_bytes_pass_through_unchanged() -> None:
    assert image_bytes(png_bytes()) == png_bytes()


@pytest.mark.parametrize("data", [b"", b"text", png_bytes()[:-30], png_bytes()[:20]])
def test_what_is_not_a_whole_image_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="pad 3"):
        read_image(data, "pad 3")


def test_base64_gives_the_bytes_that_pythons_own_module_gives() -> None:
    data = random.Random(0).randbytes(3001)
    for length in (0, 1, 2, 3, 64, 3001):
        text = base64.b64encode(data[:length]).decode("ascii")
        assert from_base64(text) == base64.b64decode(text, validate=True) == data[:length]


@pytest.mark.parametrize("text", ["!!!", "!!!!", "abc", "QUI", "QUJD\n", "Q=UI", "焊盘焊盘", "\ud83dabc"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(BadImage, match="base64"):
        from_base64(text)


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="pixels"):
        read_image(png_bytes((64, 64)), "bomb")


def oddities(path: Path) -> tuple[str, ...]:
    with opened_image_file(path) as (image, _):
        return find_oddities(image, path.suffix)


def noise(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)).convert(mode)


def exif_turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


@pytest.mark.parametrize(
    ("name", "mode", "kind", "options", "expected"),
    [
        ("a.png", "RGB", "PNG", {}, ()),
        ("a.png", "L", "PNG", {}, ()),
        ("a.PNG", "1", "PNG", {}, ()),
        ("a.jpeg", "RGB", "JPEG", {}, ()),
        ("a.tif", "RGB", "TIFF", {}, ()),
        ("a.bmp", "RGB", "BMP", {}, ()),
        ("a.webp", "RGB", "WEBP", {}, ()),
        ("a.png", "RGB", "JPEG", {}, ("disguised",)),
        ("a.jpg", "RGB", "PNG", {}, ("disguised",)),
        ("a.png", "P", "GIF", {}, ("disguised", "palette")),
        ("a.png", "I;16", "PNG", {}, ("deep",)),
        ("a.tif", "F", "TIFF", {}, ("deep",)),
        ("a.jpg", "CMYK", "JPEG", {}, ("cmyk",)),
        ("a.png", "P", "PNG", {}, ("palette",)),
        ("a.png", "P", "PNG", {"transparency": 0}, ("palette", "alpha")),
        ("a.png", "RGB", "PNG", {"transparency": (0, 0, 0)}, ("alpha",)),
        ("a.png", "LA", "PNG", {}, ("alpha",)),
        ("a.png", "RGBA", "PNG", {}, ("alpha",)),
        ("a.tif", "RGB", "TIFF", {"save_all": True, "append_images": [noise()]}, ("frames",)),
        ("a.jpg", "RGB", "JPEG", {"exif": exif_turned()}, ("turned",)),
    ],
)
def test_what_surprises_is_named(
    tmp_path: Path, name: str, mode: str, kind: str, options: dict[str, object], expected: tuple[str, ...]
) -> None:
    image = Image.new("I;16", (20, 30), 40_000) if mode == "I;16" else noise(mode)
    image.save(tmp_path / name, kind, **options)
    assert oddities(tmp_path / name) == expected
    assert set(expected) <= ODDITIES.keys()
    assert fingerprint(tmp_path / name).error is None, "it can be trained on"


def test_a_photograph_of_many_pixels_is_huge_but_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 599)
    assert oddities(tmp_path / "a.png") == ("huge",)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    assert oddities(tmp_path / "a.png") == ()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert oddities(tmp_path / "a.png") == ()


def test_running_out_of_memory_after_reading_is_a_fault_of_the_file(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    with pytest.raises(UnreadableImage, match="too large for the memory"), opened_image_file(tmp_path / "a.png"):
        raise MemoryError


def test_grey_is_told_from_colour_and_the_files_hash_is_kept(tmp_path: Path) -> None:
    Image.new("L", (16, 16), 90).save(tmp_path / "grey.png")
    Image.new("RGB", (16, 16), (90, 90, 91)).save(tmp_path / "colour.png")
    grey, colour = dataset_decode(tmp_path / "grey.png", 16), dataset_decode(tmp_path / "colour.png", 16)
    assert (grey.is_grey, colour.is_grey) == (True, False)
    assert grey.sha256 == hashlib.sha256((tmp_path / "grey.png").read_bytes()).hexdigest()
    assert grey.pixels.shape == (16, 16, 3)
    assert grey.generated_by is None


@pytest.mark.parametrize(("size", "shape"), [((64, 32), (16, 32)), ((30, 60), (32, 16)), ((16, 16), (16, 16))])
def test_the_shorter_side_becomes_the_size_and_the_shape_stays(
    tmp_path: Path, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    Image.new("L", size, 90).save(tmp_path / "a.png")
    assert dataset_decode(tmp_path / "a.png", 16).pixels.shape[:2] == shape


def test_a_line_of_pixels_is_cut_before_it_fills_the_memory(tmp_path: Path) -> None:
    Image.new("L", (20_000, 2), 90).save(tmp_path / "a.png")
    assert dataset_decode(tmp_path / "a.png", 16).pixels.shape[:2] == (16, 128)


def test_sixteen_bits_are_scaled_and_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (16, 16), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert (dataset_decode(tmp_path / "deep.png", 16).pixels == 156).all()
    assert (dataset_decode(tmp_path / "clear.png", 16).pixels == 255).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_depth_of_a_camera_is_taken_from_its_brightest_pixel(tmp_path: Path, bits: int) -> None:
    values = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    expected = np.floor(values * (255 / (2**bits - 1)) + 0.5)
    assert (dataset_decode(tmp_path / "deep.png", 16).pixels[..., 0] == expected).all()


def test_a_photograph_is_turned_as_its_camera_noted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (32, 16), 90).save(tmp_path / "a.jpg", exif=exif)
    assert dataset_decode(tmp_path / "a.jpg", 16).pixels.shape[:2] == (32, 16)


@pytest.mark.parametrize("keyword", ["sdclient", "parameters"])
def test_an_image_with_a_generators_text_counts_as_generated(tmp_path: Path, keyword: str) -> None:
    chunks = PngInfo()
    chunks.add_text(keyword, "{}")
    Image.new("L", (16, 16)).save(tmp_path / "a.png", pnginfo=chunks)
    assert dataset_decode(tmp_path / "a.png", 16).generated_by


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.png"
    if content is None:
        Image.new("L", (64, 64), 3).save(path)
        content = path.read_bytes()[:60]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: .*trainer check"):
        dataset_decode(path, 16)


def test_avif_is_read_where_pillow_can() -> None:
    if "AVIF" not in Image.registered_extensions().values():
        pytest.skip("this Pillow cannot write AVIF")
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, "AVIF", quality=100)
    assert read_image(file.getvalue()).size == (16, 16)
