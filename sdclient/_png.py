"""PNG files taken apart into chunks and put together again, without touching a pixel (PNG, third edition, 5 and 11)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .errors import BadImage

_SIGNATURE_BYTES = 8
_AROUND_BODY_BYTES = 12
"""Length and name before a chunk's body, check sum behind it."""
_TEXT_CHUNKS = (b"tEXt", b"iTXt", b"zTXt")
_NOT_PLAIN = (b"acTL", b"tRNS", b"eXIf")
"""Chunks of an animation, of transparency, and of EXIF data."""
_TURNING_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Texts that may say, as EXIF data may, that a picture is to be turned."""
_PLAIN_MODES = {(8, 0): "L", (8, 2): "RGB"}
"""(bits a sample, colour type) -> what Pillow calls it."""


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    begin: int
    end: int


class PngFile:
    """A whole PNG file, each of its chunks checked.

    Args:
        data: the file's bytes.

    Raises:
        BadImage: it ends in the middle, or a chunk does not fit its check sum.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._chunks = tuple(_chunks(data))

    @property
    def plain_mode(self) -> str | None:
        """The mode of a picture that every program shows as its pixels lie there, "L" or "RGB"; None of any other.

        It is one still picture of 8 bits, without transparency, and without EXIF or XMP data, which may turn it.
        """
        if any(chunk.name in _NOT_PLAIN or self._is_text(chunk, _TURNING_TEXTS) for chunk in self._chunks):
            return None
        bits, colour_type = self._data[24], self._data[25]  # of the header, which comes first and has a fixed form
        return _PLAIN_MODES.get((bits, colour_type))

    def with_texts(self, texts: Mapping[str, str]) -> bytes:
        """The file with these texts by keyword, in place of those it carried under these keywords; all else stays.

        Args:
            texts: keywords in latin-1; texts without NUL characters and lone surrogates.
        """
        former = tuple(keyword.encode("latin-1") + b"\0" for keyword in texts)
        parts, is_written = [self._data[:_SIGNATURE_BYTES]], False
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
    """All chunks up to the last one of the picture."""
    view, begin = memoryview(data), _SIGNATURE_BYTES
    while True:
        try:
            (length,) = struct.unpack_from(">I", data, begin)
            end = begin + _AROUND_BODY_BYTES + length
            (told,) = struct.unpack_from(">I", data, end - 4)
        except struct.error as error:
            raise BadImage("a damaged PNG file: it ends in the middle of a chunk") from error
        name = data[begin + 4 : begin + 8]
        if zlib.crc32(view[begin + 4 : end - 4]) != told:
            raise BadImage(f"a damaged PNG file: its chunk {name!r} does not fit its check sum")
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
