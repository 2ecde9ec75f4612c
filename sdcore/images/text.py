"""Text inside PNG, JPEG and WebP files, read and written without touching a pixel.

PNG: text chunks (PNG, third edition, 5 and 11). JPEG and WebP: the UserComment of an EXIF block (Exif 2.32, 4.6.5;
JPEG APP1 segment; WebP container specification, chunk "EXIF"), in the form that a WebUI writes.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from ..errors import UnreadableImage
from .decode import image_format

PNG_KEYWORD = "parameters"
"""Keyword of the PNG text chunk that holds the infotext."""
EXIF_IFD = 0x8769
"""EXIF tag of the block that holds the user comment."""
USER_COMMENT = 0x9286
"""EXIF tag of the infotext in JPEG and WebP."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_TEXT_BYTES = 1 << 20
_AROUND_BODY_BYTES = 12
"""Length and name before a chunk's body, check sum behind it."""
_TEXT_CHUNKS = (b"tEXt", b"iTXt", b"zTXt")
_NOT_PLAIN = (b"acTL", b"tRNS", b"eXIf")
"""Chunks of an animation, of transparency, and of EXIF data."""
_TURNING_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Texts that may say, as EXIF data may, that an image is to be turned."""
_PLAIN_MODES = {(8, 0): "L", (8, 2): "RGB"}
"""(bits a sample, colour type) -> what Pillow calls it."""


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    begin: int
    end: int


class PngFile:
    """A whole PNG file; each of its chunks is checked.

    Raises:
        UnreadableImage: it ends in the middle, or a chunk does not fit its check sum.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._chunks = tuple(_chunks(data))

    @property
    def plain_mode(self) -> str | None:
        """The mode, "L" or "RGB", of an image that every program shows with its pixels as stored; None of any other.

        Such an image is still, of 8 bits, without transparency, and without EXIF or XMP data, which may turn it.
        """
        if any(chunk.name in _NOT_PLAIN or self._is_text(chunk, _TURNING_TEXTS) for chunk in self._chunks):
            return None
        bits, colour_type = self._data[24], self._data[25]  # of the header, which comes first and has a fixed form
        return _PLAIN_MODES.get((bits, colour_type))

    def with_texts(self, texts: Mapping[str, str]) -> bytes:
        """The file with these texts by keyword, in place of those it had under these keywords; all else stays.

        Keywords are in latin-1; the texts are without NUL characters and lone surrogates.
        """
        former = tuple(keyword.encode("latin-1") + b"\0" for keyword in texts)
        parts, is_written = [self._data[: len(_SIGNATURE)]], False
        for chunk in self._chunks:
            if chunk.name == b"IDAT" and not is_written:
                parts += [_text_chunk(keyword, text) for keyword, text in texts.items()]
                is_written = True
            if not self._is_text(chunk, former):
                parts.append(self._data[chunk.begin : chunk.end])
        return b"".join([*parts, self._data[self._chunks[-1].end :]])

    def _is_text(self, chunk: _Chunk, starts: tuple[bytes, ...]) -> bool:
        return chunk.name in _TEXT_CHUNKS and self._data.startswith(starts, chunk.begin + 8)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """All chunks up to the last one of the image."""
    view, begin = memoryview(data), len(_SIGNATURE)
    while True:
        try:
            (length,) = struct.unpack_from(">I", data, begin)
            end = begin + _AROUND_BODY_BYTES + length
            (checksum,) = struct.unpack_from(">I", data, end - 4)
        except struct.error as error:
            raise UnreadableImage("a damaged PNG file: it ends in the middle of a chunk") from error
        name = data[begin + 4 : begin + 8]
        if zlib.crc32(view[begin + 4 : end - 4]) != checksum:
            raise UnreadableImage(f"a damaged PNG file: its chunk {name!r} does not fit its check sum")
        yield _Chunk(name, begin, end)
        if name == b"IEND":
            return
        begin = end


def _text_chunk(keyword: str, text: str) -> bytes:
    start = keyword.encode("latin-1") + b"\0"
    try:
        content = b"tEXt" + start + text.encode("latin-1")
    except UnicodeEncodeError:
        # No compression, no language, no translated keyword.
        content = b"iTXt" + start + b"\0\0" + b"\0\0" + text.encode("utf-8")
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def read_png_texts(file: BinaryIO, keyword: bytes) -> Iterator[bytes]:
    """The texts under a keyword, decompressed; a truncated file just ends the iteration."""
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in _TEXT_CHUNKS and length <= _MAX_TEXT_BYTES:
            name, _, rest = file.read(length).partition(b"\0")
            if name == keyword:
                yield _decompress(kind, rest)
            file.seek(4, os.SEEK_CUR)
        else:
            file.seek(length + 4, os.SEEK_CUR)


def _decompress(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk, from what follows its keyword (PNG 3rd edition, 11.3.3); empty when damaged."""
    packed, text = kind == b"zTXt", rest
    if kind == b"zTXt":
        text = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not packed:
        return text
    try:
        return zlib.decompressobj().decompress(text, _MAX_TEXT_BYTES)
    except zlib.error:
        return b""


_EXIF_MARK = b"Exif\0\0"
_JPEG_LARGEST_SEGMENT = 0xFFFF - 2
_VP8X_HAS_EXIF = 0x08
_VP8X_HAS_ALPHA = 0x10


def embed_text(data: bytes, text: str) -> bytes:
    """The PNG, JPEG or WebP file with the text in it, in place of the text it had; pixels and other metadata stay.

    The caller has decoded the file once. The text is without NUL characters and lone surrogates, which no such file can
    hold.

    Raises:
        UnreadableImage: another format, a damaged file, or a text too long for a JPEG (about 32,000 characters).
    """
    kind = image_format(data)
    try:
        if kind == "PNG":
            return PngFile(data).with_texts({PNG_KEYWORD: text})
        if kind == "JPEG":
            return _with_jpeg_exif(data, _exif_block(data, text))
        if kind == "WEBP":
            return _with_webp_exif(data, _exif_block(data, text).removeprefix(_EXIF_MARK))
    except (IndexError, struct.error) as error:
        raise UnreadableImage(f"the {kind} to write infotext into is damaged: it cannot be taken apart") from error
    raise UnreadableImage(f"an image of format {kind} cannot carry infotext; expected PNG, JPEG or WebP")


def _exif_block(data: bytes, text: str) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()


def _with_jpeg_exif(data: bytes, exif: bytes) -> bytes:
    if len(exif) > _JPEG_LARGEST_SEGMENT:
        raise UnreadableImage(
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
