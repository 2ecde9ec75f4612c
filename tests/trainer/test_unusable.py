from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data.fingerprints import ODDITIES, Unusable, find_peculiarities, opened_picture, reason_unusable


def oddities(path: Path) -> tuple[str, ...]:
    with opened_picture(path) as (picture, _):
        return find_peculiarities(picture, path.suffix)


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
    picture = Image.new("I;16", (20, 30), 40_000) if mode == "I;16" else noise(mode)
    picture.save(tmp_path / name, kind, **options)
    assert oddities(tmp_path / name) == expected
    assert set(expected) <= ODDITIES.keys()
    assert reason_unusable(tmp_path / name) is None, "it can be trained on"


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
    with pytest.raises(Unusable, match="too large for the memory"), opened_picture(tmp_path / "a.png"):
        raise MemoryError
