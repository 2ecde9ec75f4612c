""".

PNG: a text chunk (`_png`). JPEG and WebP: the UserComment of an EXIF block (Exif 2.32, 4.6.5;
JPEG APP1 segment; WebP container specification, chunk "EXIF"). The forms are those a WebUI writes.

Three parts, the first two possibly absent or of several lines::

    scratched metal surface
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ SDE, Schedule type: Karras, CFG scale: 7.0, Seed: 42, Size: 64x64, ...

A value that holds a comma, a colon or a line break stands in JSON quotes.
"""

from __future__ import annotations

import io
import struct

from PIL import Image

from ._images import decode, image_format
from ._png import PngFile
from .errors import BadImage

_EXIF_MARK = b"Exif\0\0"
_JPEG_LARGEST_SEGMENT = 0xFFFF - 2
_VP8X_HAS_EXIF = 0x08
_VP8X_HAS_ALPHA = 0x10


def embed_text(data: bytes, text: str) -> bytes:
    """The image file with the text in it, in place of the text it carried; pixels and other metadata stay.

    Args:
        data: a PNG, JPEG or WebP file.
        text: without NUL characters and lone surrogates, which these files cannot hold.

    Raises:
        BadImage: another format, a damaged file, or a text too long for a JPEG (about 32,000 characters).
    """
    decode(data, "the image to write infotext into")  # only whole files are taken apart below
    kind = image_format(data)
    try:
        if kind == "PNG":
            return PngFile(data).with_texts({PNG_KEYWORD: text})
        if kind == "JPEG":
            return _with_jpeg_exif(data, _exif_block(data, text))
        if kind == "WEBP":
            return _with_webp_exif(data, _exif_block(data, text).removeprefix(_EXIF_MARK))
    except (IndexError, struct.error) as error:
        raise BadImage(f"the {kind} to write infotext into is damaged: it cannot be taken apart") from error
    raise BadImage(f"an image of format {kind} cannot carry infotext; expected PNG, JPEG or WebP")


def _exif_block(data: bytes, text: str) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()


def _with_jpeg_exif(data: bytes, exif: bytes) -> bytes:
    if len(exif) > _JPEG_LARGEST_SEGMENT:
        raise BadImage(
            f"infotext of {len(exif)} bytes is too long for a JPEG (at most {_JPEG_LARGEST_SEGMENT}); save as PNG"
        )
    parts = [data[:2], b"\xff\xe1", struct.pack(">H", len(exif) + 2), exif]
    position = 2
    while data[position + 1] != 0xDA:  # until the scan begins
        if data[position + 1] == 0xFF:  # a fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position : position + 2 + length]
        if not (segment[1] == 0xE1 and segment[4:].startswith(_EXIF_MARK)):
            parts.append(segment)
        position += 2 + length
    parts.append(data[position:])
    return b"".join(parts)


def _with_webp_exif(data: bytes, exif: bytes) -> bytes:
    chunks = [(name, body) for name, body in _riff_chunks(data) if name != b"EXIF"]
    if chunks[0][0] == b"VP8X":
        header = bytearray(chunks[0][1])
        header[0] |= _VP8X_HAS_EXIF
        chunks[0] = (b"VP8X", bytes(header))
    else:  # the simple format, which has no place for metadata
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            flags = _VP8X_HAS_EXIF | (_VP8X_HAS_ALPHA if "A" in image.getbands() else 0)
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks.insert(0, (b"VP8X", bytes([flags, 0, 0, 0]) + size))
    chunks.append((b"EXIF", exif))
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) for name, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, position = [], 12
    while position + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        chunks.append((data[position : position + 4], data[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    return chunks


PNG_KEYWORD = "parameters"
"""Keyword of the PNG text chunk that holds the infotext."""


EXIF_IFD = 0x8769
"""EXIF tag of the block that holds the user comment."""
USER_COMMENT = 0x9286
"""EXIF tag of the infotext in JPEG and WebP."""
