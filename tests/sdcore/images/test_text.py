"""Texts inside image files are written and read without touching a pixel."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdcore.errors import UnreadableImage
from sdcore.images.decode import read_image, to_png
from sdcore.images.text import EXIF_IFD, PNG_KEYWORD, USER_COMMENT, PngFile, embed_text, read_png_texts

TEXT = "scratch 划痕, Größe\nSteps: 20"


def noise(mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((24, 16), 50).convert(mode)


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    noise(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def user_comment(image: Image.Image) -> str:
    comment = image.getexif().get_ifd(EXIF_IFD)[USER_COMMENT]
    return bytes(comment).removeprefix(b"UNICODE\0").decode("utf-16-be")


@pytest.mark.parametrize("text", ["plain", TEXT, "", "x" * 100_000])
def test_a_text_in_a_png_comes_back_and_the_pixels_stay(text: str) -> None:
    image = noise()
    data = embed_text(to_png(image), text)
    assert read_image(data).info[PNG_KEYWORD] == text
    assert read_image(data).tobytes() == image.tobytes()
    assert [one.decode("utf-8") for one in read_png_texts(io.BytesIO(data), PNG_KEYWORD.encode())] == [text]


def test_a_new_text_replaces_the_old_one_and_other_texts_stay() -> None:
    first = PngFile(to_png(noise())).with_texts({"parameters": "old", "sdclient": "kept"})
    second = PngFile(first).with_texts({"parameters": "new"})
    assert list(read_png_texts(io.BytesIO(second), b"parameters")) == [b"new"]
    assert list(read_png_texts(io.BytesIO(second), b"sdclient")) == [b"kept"]


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [("JPEG", "RGB", {}), ("JPEG", "L", {}), ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True})],
)
def test_a_text_in_jpeg_and_webp_stands_in_the_user_comment(kind: str, mode: str, options: dict[str, object]) -> None:
    data = encoded(kind, mode, **options)
    once = embed_text(data, "old")
    twice = embed_text(once, TEXT)
    assert user_comment(read_image(twice)) == TEXT
    assert read_image(twice).tobytes() == read_image(data).tobytes()
    assert read_image(twice).format == kind


def test_a_text_too_long_for_a_jpeg_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="too long for a JPEG"):
        embed_text(encoded("JPEG"), "x" * 40_000)


def test_another_format_cannot_carry_a_text() -> None:
    with pytest.raises(UnreadableImage, match="BMP cannot carry infotext"):
        embed_text(encoded("BMP"), TEXT)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_file_that_cannot_be_taken_apart_is_damaged(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(kind)[: 4 if kind == "JPEG" else 12]
    monkeypatch.setattr("sdcore.images.text._exif_block", lambda data, text: b"Exif\0\0")
    with pytest.raises(UnreadableImage, match=f"the {kind} .* is damaged"):
        embed_text(data, TEXT)


def test_a_png_is_checked_chunk_by_chunk() -> None:
    data = to_png(noise())
    with pytest.raises(UnreadableImage, match="ends in the middle of a chunk"):
        PngFile(data[:-20])
    with pytest.raises(UnreadableImage, match="check sum"):
        PngFile(data[:30] + b"?" + data[31:])


def test_only_a_png_that_every_program_shows_as_stored_is_plain() -> None:
    assert PngFile(to_png(noise("L"))).plain_mode == "L"
    assert PngFile(to_png(noise("RGB"))).plain_mode == "RGB"
    for mode in ("RGBA", "P", "1", "I;16"):
        image = Image.new("I;16", (4, 4)) if mode == "I;16" else noise(mode)
        assert PngFile(to_png(image)).plain_mode is None
    exif = Image.Exif()
    exif[0x0112] = 6
    assert PngFile(encoded("PNG", exif=exif)).plain_mode is None
    assert PngFile(encoded("PNG", transparency=(0, 0, 0))).plain_mode is None


@pytest.mark.parametrize("is_packed", [False, True])
def test_every_kind_of_text_chunk_is_read(is_packed: bool) -> None:
    info = PngInfo()
    info.add_text("parameters", "latin", zip=is_packed)
    info.add_itxt("parameters", TEXT, zip=is_packed)
    data = encoded("PNG", pnginfo=info)
    assert list(read_png_texts(io.BytesIO(data), b"parameters")) == [b"latin", TEXT.encode()]
    assert list(read_png_texts(io.BytesIO(data), b"nothing")) == []


def test_a_damaged_text_is_empty_and_a_truncated_file_ends_the_texts() -> None:
    body = b"zTXt" + b"parameters\0\0" + b"not packed"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    png = to_png(noise())
    assert list(read_png_texts(io.BytesIO(png[:33] + chunk + png[33:]), b"parameters")) == [b""]
    assert list(read_png_texts(io.BytesIO(png[:40]), b"parameters")) == []
    assert list(read_png_texts(io.BytesIO(b"GIF89a"), b"parameters")) == []
