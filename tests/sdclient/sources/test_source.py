"""Numbered folders are walked right, and what is wrong with them is said."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from sdclient.errors import SourceError
from sdclient.sources import discover
from sdclient.sources.source import (
    ImageForm,
    fit_to_model,
    generation_size,
    guess_native_px,
    names_by_class,
    oversized,
    oversized_warning,
    restore_form,
)


def put(folder: Path, *names: str, size: tuple[int, int] = (8, 8)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)


def test_classes_and_numbers_come_in_natural_order_over_gaps(tmp_path: Path) -> None:
    put(tmp_path / "c10", "1.png")
    put(tmp_path / "c9", "10.png", "9.jpg", "2.PNG", "007.bmp")
    put(tmp_path / "漏铜", "3.webp")
    (tmp_path / "c9" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "c9" / "2.txt").write_text("a box file", encoding="utf-8")
    (tmp_path / "mapping.csv").write_text("x", encoding="utf-8")
    found = discover(tmp_path)
    assert [source.relative for source in found] == [
        "c9/2.PNG",
        "c9/007.bmp",
        "c9/9.jpg",
        "c9/10.png",
        "c10/1.png",
        "漏铜/3.webp",
    ]
    assert [source.number for source in found] == [2, 7, 9, 10, 1, 3]
    assert found[0].path == tmp_path / "c9" / "2.PNG"
    assert found[0].name == "2.PNG"
    assert list(names_by_class(found)) == ["c9", "c10", "漏铜"]
    assert names_by_class(found)["c9"] == ["2.PNG", "007.bmp", "9.jpg", "10.png"]


def test_no_class_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no class folder"):
        discover(tmp_path)


def test_an_image_outside_the_class_folders_is_named(tmp_path: Path) -> None:
    put(tmp_path / "dirt", "1.png")
    put(tmp_path, "5.png")
    with pytest.raises(SourceError, match=r"5\.png: an image outside any class folder"):
        discover(tmp_path)


@pytest.mark.parametrize("leftover", [None, ".DS_Store", "notes.txt"])
def test_an_empty_class_is_named(tmp_path: Path, leftover: str | None) -> None:
    put(tmp_path / "dirt", "1.png")
    put(tmp_path / "oxidation")
    if leftover:
        (tmp_path / "oxidation" / leftover).write_bytes(b"x")
    with pytest.raises(SourceError, match="oxidation: no image in this class folder"):
        discover(tmp_path)


@pytest.mark.parametrize("name", ["IMG_7.png", "1a.png", "-1.png", "1.5.png", "²3.png", "１.png"])
def test_a_file_that_is_not_numbered_sends_to_number(tmp_path: Path, name: str) -> None:
    put(tmp_path / "dirt", "1.png", name)
    with pytest.raises(SourceError, match=r"not numbered.*sdclient number"):
        discover(tmp_path)


@pytest.mark.parametrize("twin", ["1.jpg", "01.png"])
def test_two_files_with_one_number_are_named(tmp_path: Path, twin: str) -> None:
    put(tmp_path / "dirt", "1.png", twin)
    with pytest.raises(SourceError, match="same number") as caught:
        discover(tmp_path)
    assert "1.png" in str(caught.value)
    assert twin in str(caught.value)


def test_a_source_that_is_no_image_is_named(tmp_path: Path) -> None:
    put(tmp_path / "dirt", "1.png")
    (tmp_path / "dirt" / "2.png").write_bytes(b"GIMP")
    with pytest.raises(SourceError, match=r"2\.png: not an image"):
        discover(tmp_path)


def test_sources_over_the_native_area_are_found_and_said_in_one_line(tmp_path: Path) -> None:
    put(tmp_path / "dirt", "1.png", size=(512, 512))
    put(tmp_path / "dirt", "2.png", size=(1024, 256))
    put(tmp_path / "dirt", "3.png", size=(513, 512))
    put(tmp_path / "dirt", "4.png", size=(2000, 1500))
    found = oversized(discover(tmp_path))
    assert [(item.source.name, item.width_px, item.height_px) for item in found] == [
        ("3.png", 513, 512),
        ("4.png", 2000, 1500),
    ]
    warning = oversized_warning(found)
    assert warning is not None
    assert "2 sources" in warning
    assert "dirt/4.png, 2000 x 1500" in warning
    assert "sdclient crop" in warning
    assert "\n" not in warning
    assert [item.source.name for item in oversized(discover(tmp_path), 1024)] == ["4.png"]
    assert oversized_warning([]) is None


SIDES = st.integers(1, 6000)


@pytest.mark.parametrize(
    ("source", "native", "expected"),
    [
        ((512, 512), 512, (512, 512)),
        ((96, 96), 512, (512, 512)),
        ((1, 1), 512, (512, 512)),
        ((4000, 3000), 512, (584, 440)),
        ((3000, 4000), 512, (440, 584)),
        ((640, 512), 512, (568, 456)),
        ((1920, 1080), 1024, (1368, 768)),
        ((10000, 10), 512, (4096, 64)),
    ],
)
def test_sizes_worked_out_by_hand(source: tuple[int, int], native: int, expected: tuple[int, int]) -> None:
    assert generation_size(*source, native_px=native) == expected


@settings(deadline=None)
@given(width=SIDES, height=SIDES, native=st.sampled_from([512, 768, 1024]))
def test_a_size_is_near_the_native_area_with_the_same_aspect(width: int, height: int, native: int) -> None:
    out = generation_size(width, height, native_px=native)
    assert all(side % 8 == 0 and side >= 64 for side in out)
    assert generation_size(height, width, native_px=native) == out[::-1]
    short, long = sorted(out)
    aspect = max(width, height) / min(width, height)
    if aspect <= native * native / 64**2:
        assert abs(long - short * aspect) <= 8
        # Rounding the short side by half a step moves the area by twice that share.
        assert abs(short * long / native**2 - 1) <= 9 / short + 4 / long + 16 / short**2
    else:
        assert short * long == native * native


@pytest.mark.parametrize("arguments", [(0, 5), (5, 0), (-1, 5)])
def test_a_size_that_is_none_is_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        generation_size(*arguments)


MODES: list[tuple[str, Any, tuple[int, int, int], str]] = [
    ("1", 1, (255, 255, 255), "L"),
    ("L", 77, (77, 77, 77), "L"),
    ("LA", (77, 255), (77, 77, 77), "L"),
    ("LA", (77, 0), (255, 255, 255), "L"),
    ("RGB", (1, 2, 3), (1, 2, 3), "RGB"),
    ("RGBA", (1, 2, 3, 255), (1, 2, 3), "RGB"),
    ("RGBA", (1, 2, 3, 0), (255, 255, 255), "RGB"),
    ("RGBA", (0, 0, 0, 128), (127, 127, 127), "RGB"),
    ("CMYK", (0, 0, 0, 255), (0, 0, 0), "RGB"),
    ("I;16", 65535, (255, 255, 255), "L"),
    ("I;16", 32896, (128, 128, 128), "L"),
    ("I;16B", 65535, (255, 255, 255), "L"),
    ("I;16", 4095, (255, 255, 255), "L"),
    ("I;16", 200, (200, 200, 200), "L"),
    ("I;16", 0, (0, 0, 0), "L"),
    ("I", 65535, (255, 255, 255), "L"),
    ("I", 2**20, (255, 255, 255), "L"),
    ("I", -5, (0, 0, 0), "L"),
    ("F", 0.5, (128, 128, 128), "L"),
    ("F", 1023.0, (255, 255, 255), "L"),
]


@pytest.mark.parametrize(("mode", "value", "colour", "back"), MODES)
def test_every_mode_becomes_rgb_and_is_remembered(
    mode: str, value: Any, colour: tuple[int, int, int], back: str
) -> None:
    image = Image.new(mode, (10, 6), value)
    ready = fit_to_model(image, (64, 64))
    assert (ready.mode, ready.size) == ("RGB", (64, 64))
    assert ready.getpixel((5, 5)) == colour
    form = ImageForm.of(image)
    assert form == ImageForm(10, 6, back)  # type: ignore[arg-type]
    restored = restore_form(ready, form)
    assert (restored.mode, restored.size) == (back, (10, 6))


def test_deep_grey_keeps_its_order_over_the_cameras_whole_depth() -> None:
    image = Image.new("I;16", (4096, 1))
    for value in range(4096):
        image.putpixel((value, 0), value)
    out = [pixel[0] for pixel in (fit_to_model(image, (4096, 1)).getpixel((x, 0)) for x in range(4096))]  # type: ignore[index]
    assert out == [math.floor(value * 255 / 4095 + 0.5) for value in range(4096)]


def test_not_a_number_in_a_float_image_does_no_harm() -> None:
    image = Image.new("F", (4, 4), 0.25)
    image.putpixel((0, 0), math.nan)
    assert fit_to_model(image, (64, 64)).mode == "RGB"


@pytest.mark.parametrize(("second", "mode"), [((200, 200, 200), "L"), ((200, 0, 0), "RGB")])
def test_a_palette_is_grey_when_its_colours_are(second: tuple[int, int, int], mode: str) -> None:
    image = Image.new("RGB", (8, 8), (9, 9, 9))
    image.putpixel((0, 0), second)
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    assert palette.mode == "P"
    assert ImageForm.of(palette).mode == mode
    assert fit_to_model(palette, (8, 8)).getpixel((0, 0)) == second


def test_a_transparent_palette_entry_becomes_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30])
    image.info["transparency"] = 0
    assert fit_to_model(image, (8, 8)).getpixel((3, 3)) == (255, 255, 255)


def test_the_exif_rotation_is_applied_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 20)).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        form = ImageForm.of(image)
        assert form == ImageForm(20, 40, "L")
        assert restore_form(fit_to_model(image, (256, 512)), form).size == (20, 40)


def test_a_source_of_the_right_size_passes_unchanged() -> None:
    image = Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(64 * 64 * 3))
    assert restore_form(fit_to_model(image, (64, 64)), ImageForm.of(image)).tobytes() == image.tobytes()


def test_a_bright_pixel_survives_the_way_up_and_down() -> None:
    image = Image.new("L", (96, 96), 40)
    image.putpixel((50, 41), 240)
    back = restore_form(fit_to_model(image, (512, 512)), ImageForm.of(image))
    peak = max((back.getpixel((x, y)), (x, y)) for x in range(96) for y in range(96))  # type: ignore[type-var]
    assert peak[1] == (50, 41)
    assert peak[0] > 180  # type: ignore[operator]


def test_shrinking_skips_no_line() -> None:
    for column in range(300, 308):
        image = Image.new("L", (2048, 64), 0)
        image.paste(255, (column, 0, column + 1, 64))
        assert max(fit_to_model(image, (512, 64)).convert("L").tobytes()) > 40


def test_the_way_there_and_back_costs_real_crops_little(deeppcb: Path) -> None:
    files = sorted((deeppcb / "images").rglob("*.png"))[::200]
    assert files
    losses = []
    for file in files:
        with Image.open(file) as image:
            source = image.convert("L")
        back = restore_form(fit_to_model(source, (512, 512)), ImageForm.of(source))
        difference = [abs(a - b) for a, b in zip(source.tobytes(), back.tobytes(), strict=True)]
        losses.append(sum(difference) / len(difference))
    # Grey levels of 255, on crops that are nearly black and white and so have the hardest edges there are.
    assert sum(losses) / len(losses) < 3


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("boards-64px-not-stable-diffusion [0f1e2d3c4b]", 64),
        ("xl-1024-96px-not-stable-diffusion", 96),
        ("classical-engine-not-stable-diffusion [0f1e2d3c4b]", 512),
        ("v1-5-pruned-emaonly.safetensors [6ce0161689]", 512),
        ("v1-5-pruned.ckpt [e1441589a6]", 512),
        ("dreamshaper_8.safetensors [768102476a]", 512),
        ("random-v1", 512),
        ("", 512),
        ("v2-1_768-ema-pruned.ckpt [ad2a33c361]", 768),
        ("v2-1_512-ema-pruned.safetensors", 512),
        ("512-base-ema.ckpt", 512),
        ("sd2.1.safetensors", 768),
        ("sd_xl_base_1.0.safetensors [31e35c80fc]", 1024),
        ("sd_xl_turbo_1.0.safetensors", 512),
        ("ponyDiffusionV6XL.safetensors", 1024),
        ("flux1-dev-bnb-nf4.safetensors", 1024),
        ("sd3_medium.safetensors", 1024),
    ],
)
def test_the_native_size_is_guessed_from_the_models_name(name: str, side: int) -> None:
    assert guess_native_px(name) == side
