"""Files of an output as a browser can show them: checked against what was recorded, converted, kept within a bound."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from sdcore.files import sha256_of
from sdcore.images.decode import to_rgb

from .._images import encode_png
from ..sources.source import read_photo

FileState = Literal["ok", "missing", "changed", "outside"]
"""`outside`: the recorded path leads out of its folder, so nobody looks."""

THUMB_PX = 256
_CACHE_BYTES = 128 << 20
_DIGESTS = 100_000
_JPEG_QUALITY = 85
_PNG_LEVEL = 1
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# With these a browser would show other levels than the file's own, and 16 bits it cannot show.
_PNG_CHUNKS_THAT_CHANGE = (b"gAMA", b"cHRM", b"iCCP", b"cICP", b"eXIf", b"tRNS", b"acTL")
_PNG_GREY, _PNG_RGB = 0, 2


@dataclass(frozen=True)
class ServedImage:
    """An image as it is sent."""

    data: bytes
    media_type: str
    etag: str


def path_within(folder: Path, relative: str) -> Path | None:
    """The file of a recorded path, links followed; None where that leads out of the folder."""
    try:
        path = (folder / relative).resolve()
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):
        return None


class ImageCache:
    """Reads images once and keeps what was made of them.

    Safe for several threads.

    Args:
        cache_bytes: bound of what is kept.
    """

    def __init__(self, cache_bytes: int = _CACHE_BYTES) -> None:
        self._bound = cache_bytes
        self._held = 0
        self._shown: OrderedDict[str, ServedImage] = OrderedDict()
        self._digests: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def digest(self, path: Path) -> str | None:
        """Hex sha256 of a file as it is now, read anew when its time or size changed; None where it is not there."""
        try:
            facts = path.stat()
            key = (str(path), facts.st_mtime_ns, facts.st_size)
            with self._lock:
                known = self._digests.get(key)
            if known is None:
                known = sha256_of(path)
        except OSError:
            return None
        with self._lock:
            self._digests[key] = known
            self._digests.move_to_end(key)
            while len(self._digests) > _DIGESTS:
                self._digests.popitem(last=False)
        return known

    def state(self, path: Path | None, sha256: str) -> FileState:
        """What became of a file since its bytes were recorded.

        Args:
            path: from `path_within`.
            sha256: as recorded; "" where none was, which any bytes fit.
        """
        if path is None:
            return "outside"
        now = self.digest(path)
        if now is None:
            return "missing"
        return "ok" if sha256 in ("", now) else "changed"

    def full(self, path: Path) -> ServedImage | None:
        """The image pixel for pixel, 8 bit and upright; None where the file is not there.

        Raises:
            SourceError: not an image that can be read.
        """
        return self._made("full", path, _as_it_is)

    def thumb(self, path: Path) -> ServedImage | None:
        """The image within `THUMB_PX`; a smaller one keeps its own pixels. None where the file is not there.

        Raises:
            SourceError: not an image that can be read.
        """
        return self._made("thumb", path, _small)

    def _made(self, kind: str, path: Path, make: Callable[[Path], tuple[bytes, str]]) -> ServedImage | None:
        digest = self.digest(path)
        if digest is None:
            return None
        etag = f"{kind}-{digest}"
        with self._lock:
            if etag in self._shown:
                self._shown.move_to_end(etag)
                return self._shown[etag]
        shown = ServedImage(*make(path), etag)
        with self._lock:
            if etag not in self._shown and len(shown.data) <= self._bound:
                self._shown[etag] = shown
                self._held += len(shown.data)
                while self._held > self._bound:
                    self._held -= len(self._shown.popitem(last=False)[1].data)
        return shown


def _as_it_is(path: Path) -> tuple[bytes, str]:
    data = path.read_bytes()
    if not _is_plain_png(data):
        buffer = io.BytesIO()
        _to_show(read_photo(path)).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
        data = buffer.getvalue()
    return data, "image/png"


def _small(path: Path) -> tuple[bytes, str]:
    image = _to_show(read_photo(path))
    if max(image.size) <= THUMB_PX:
        return encode_png(image), "image/png"
    image.thumbnail((THUMB_PX, THUMB_PX), Image.Resampling.BOX, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue(), "image/jpeg"


def _to_show(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" and not image.has_transparency_data else to_rgb(image)


def _is_plain_png(data: bytes) -> bool:
    """Whether a browser shows the file's own levels: 8-bit grey or RGB without a word about colour."""
    if data[:8] != _PNG_MAGIC or len(data) < 26 or data[24] != 8 or data[25] not in (_PNG_GREY, _PNG_RGB):
        return False
    head = data[: data.find(b"IDAT")]
    return not any(chunk in head for chunk in _PNG_CHUNKS_THAT_CHANGE)
