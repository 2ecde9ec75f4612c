"""Image bytes, their formats, and what cannot be decoded."""

from __future__ import annotations

import base64
import io
import random

import pytest
from PIL import Image

from sdclient._images import decode, encode_png, image_format, to_bytes
from sdclient.errors import BadImage
from sdclient.models._base import from_base64, to_base64
from tests.support.webui import png_bytes


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
    assert decode(from_base64(to_base64(encode_png(image)))).tobytes() == image.tobytes()


def test_a_data_url_is_accepted() -> None:
    assert from_base64("data:image/png;base64," + to_base64(png_bytes())) == png_bytes()


def test_bytes_pass_through_unchanged() -> None:
    assert to_bytes(png_bytes()) == png_bytes()


@pytest.mark.parametrize("data", [b"", b"text", png_bytes()[:-30], png_bytes()[:20]])
def test_what_is_not_a_whole_image_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(BadImage, match="pad 3"):
        decode(data, "pad 3")


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
    with pytest.raises(BadImage, match="pixels"):
        decode(png_bytes((64, 64)), "bomb")
