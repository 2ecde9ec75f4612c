"""A server's image keeps its own compressed pixels where nothing has to change, and is a sound file where it does."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdclient.batch import GenerationSettings
from sdclient.batch.job_execution import ServerReply, finish_reply
from sdclient.batch.jobs import Job, PlannedImage
from sdclient.batch.requests import PreparedSource
from sdclient.client import GeneratedImage, GenerationResult
from sdclient.errors import BadImage, LossyFormat
from sdclient.models import GenerationInfo, Img2ImgRequest
from sdclient.output.store import GeneratedFile, encode_png
from sdclient.sources import Source
from sdclient.sources.source import ImageForm, restore_form

SIZE = (40, 24)
INFOTEXT = "焊盘\nSteps: 4, Sampler: Euler, Seed: 7"


def noise(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1])).convert(mode)


def file_of(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def made_of(data: bytes, form: ImageForm | None = None) -> GeneratedFile:
    """What a reply with this one file becomes, its source having this form."""
    source = Source("焊盘", 3, Path("sources/焊盘/3.png"))
    planned = PlannedImage(source, "a" * 64, 1, 7, "b" * 64, GenerationSettings().parameters)
    sent = noise()
    prepared = PreparedSource(sent, file_of(sent), form or ImageForm(*SIZE, "RGB"))
    request = Img2ImgRequest(init_images=(prepared.data,), seed=7, width=SIZE[0], height=SIZE[1])
    result = GenerationResult((GeneratedImage(data, 7, INFOTEXT),), GenerationInfo(), request)
    (made,) = finish_reply(ServerReply(Job((planned,)), "http://server", prepared, result))
    assert isinstance(made, GeneratedFile)
    return made


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def pixel_bytes(data: bytes) -> list[bytes]:
    """The bodies of the chunks that hold the pixels."""
    found, begin = [], 8
    while begin < len(data):
        length = int.from_bytes(data[begin : begin + 4], "big")
        if data[begin + 4 : begin + 8] == b"IDAT":
            found.append(data[begin + 8 : begin + 8 + length])
        begin += 12 + length
    return found


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_image_of_the_right_form_keeps_its_compressed_pixels(mode: str) -> None:
    sent = file_of(noise(mode), compress_level=9)
    made = made_of(sent, ImageForm(*SIZE, mode))  # type: ignore[arg-type]
    image = opened(made.data)
    assert pixel_bytes(made.data) == pixel_bytes(sent)
    assert (image.mode, image.size, image.tobytes()) == (mode, SIZE, opened(sent).tobytes())
    assert (made.record.width, made.record.height) == SIZE
    assert made.record.sha256 == hashlib.sha256(made.data).hexdigest()


def test_our_texts_replace_the_servers_and_all_other_chunks_stay() -> None:
    texts = PngInfo()
    texts.add_text("parameters", "the server's own")
    texts.add_text("sdclient", "{}", zip=True)
    texts.add_text("workflow", "kept")
    sent = file_of(noise(), pnginfo=texts, icc_profile=b"a colour profile", dpi=(300, 300))
    image = opened(made_of(sent).data)
    lineage = {"class": "焊盘", "source_sha256": "a" * 64, "key": "b" * 64, "engine": "Stable Diffusion WebUI"}
    assert image.info["parameters"] == INFOTEXT
    assert json.loads(image.info["sdclient"]) == lineage
    assert (image.info["workflow"], image.info["icc_profile"]) == ("kept", b"a colour profile")
    assert pixel_bytes(made_of(sent).data) == pixel_bytes(sent)
    assert made_of(sent).data.count(b"sdclient\0") == 1


def turned_by_xmp() -> bytes:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="3"/>')
    return file_of(noise(), pnginfo=texts)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3
    return file_of(noise(), exif=exif)


def sixteen_bit() -> bytes:
    """RGB of 16 bits a sample, which Pillow reads as 8 bits and cannot write."""
    header = b"IHDR" + SIZE[0].to_bytes(4, "big") + SIZE[1].to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    rows = b"".join(b"\0" + bytes([row, 200] * 3 * SIZE[0]) for row in range(SIZE[1]))
    chunks = (header, b"IDAT" + zlib.compress(rows), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in chunks
    )


OTHER_FORMS = {
    "colour for a grey source": (file_of(noise()), "L"),
    "grey for a coloured source": (file_of(noise("L")), "RGB"),
    "palette": (file_of(noise("P")), "RGB"),
    "one bit": (file_of(noise("1")), "L"),
    "alpha": (file_of(noise("RGBA")), "RGB"),
    "transparent colour": (file_of(noise(), transparency=(1, 2, 3)), "RGB"),
    "16 bit grey": (file_of(noise("L").convert("I;16")), "L"),
    "16 bit colour": (sixteen_bit(), "RGB"),
    "turned by EXIF": (turned(), "RGB"),
    "turned by XMP": (turned_by_xmp(), "RGB"),
    "animated": (file_of(noise(), save_all=True, append_images=[Image.new("RGB", SIZE, "red")]), "RGB"),
    "larger than the source": (file_of(noise(size=(80, 48))), "RGB"),
    "BMP": (file_of(noise(), "BMP"), "RGB"),
    "TIFF": (file_of(noise(), "TIFF"), "RGB"),
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_an_image_of_another_form_is_encoded_anew(name: str) -> None:
    sent, mode = OTHER_FORMS[name]
    made = made_of(sent, ImageForm(*SIZE, mode))  # type: ignore[arg-type]
    image = opened(made.data)
    expected = restore_form(opened(sent), ImageForm(*SIZE, mode))  # type: ignore[arg-type]
    assert pixel_bytes(made.data) != pixel_bytes(sent)
    assert (image.format, image.mode, image.size) == ("PNG", mode, SIZE)
    assert image.tobytes() == expected.tobytes()
    assert made.data[24:26] == bytes([8, 2 if mode == "RGB" else 0])  # bits a sample, colour type
    assert getattr(image, "n_frames", 1) == 1
    assert image.getexif().get(0x0112, 1) == 1
    assert image.info["parameters"] == INFOTEXT


def test_an_interlaced_image_keeps_its_pixels() -> None:
    """Pillow writes none; a image of one pixel is the same either way but for its header."""
    sent = bytearray(file_of(noise(size=(1, 1))))
    sent[28] = 1
    sent[29:33] = zlib.crc32(sent[12:29]).to_bytes(4, "big")
    made = made_of(bytes(sent), ImageForm(1, 1, "RGB"))
    assert pixel_bytes(made.data) == pixel_bytes(bytes(sent))
    assert opened(made.data).info["interlace"] == 1
    assert opened(made.data).tobytes() == opened(bytes(sent)).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_damaged_image_is_refused(mode: str) -> None:
    sent = file_of(noise())
    place = sent.index(b"IDAT") + len(sent) // 2
    flipped = sent[:place] + bytes([sent[place] ^ 1]) + sent[place + 1 :]
    sum_only = sent[:-16] + bytes([sent[-16] ^ 1]) + sent[-15:]  # of the last pixel chunk
    for damaged in (flipped, sum_only, sent[: len(sent) // 2], sent[:-12], sent[:40]):
        with pytest.raises(BadImage):
            made_of(damaged, ImageForm(*SIZE, mode))  # type: ignore[arg-type]


def test_a_whole_file_of_broken_pixels_is_refused() -> None:
    """Every check sum fits, and the compressed rows are too few."""
    body = b"IDAT" + zlib.compress(b"\0" * 100)
    whole = file_of(noise())
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    with pytest.raises(BadImage):
        made_of(whole[:33] + chunk + whole[-12:])


def test_a_lossy_format_is_refused() -> None:
    with pytest.raises(LossyFormat, match="sent JPEG"):
        made_of(file_of(noise(), "JPEG"))


def test_an_encoded_image_reads_back_with_its_texts() -> None:
    image = opened(encode_png(noise("L"), infotext=INFOTEXT, lineage={"class": "划痕"}))
    assert image.tobytes() == noise("L").tobytes()
    assert image.info["parameters"] == INFOTEXT
    assert json.loads(image.info["sdclient"]) == {"class": "划痕"}


def test_recorded_replies_keep_their_pixels(webui_recordings: Path) -> None:
    """What a genuine WebUI sends has the form to be kept as it is."""
    body = json.loads((webui_recordings / "replies" / "post_img2img.json").read_text(encoding="utf-8"))["body"]
    sent = base64.b64decode(body["images"][0])
    image = opened(sent)
    made = made_of(sent, ImageForm(*image.size, "RGB"))
    assert pixel_bytes(made.data) == pixel_bytes(sent)
    assert opened(made.data).tobytes() == image.tobytes()
