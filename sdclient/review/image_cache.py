"""Image files as a browser can show them: converted, cached within a bound, checked against their recorded hash."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from sdcore.files import sha256_of
from sdcore.images.decode import to_png, to_rgb

from ..sources.source import read_photo

FileState = Literal["ok", "missing", "changed", "outside"]
"""`outside`: the recorded path points outside its folder, so the file is not read."""

THUMB_PX = 256
_CACHE_BYTES = 128 << 20
_DIGESTS = 100_000
_JPEG_QUALITY = 85
_PNG_LEVEL = 1
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# With these chunks a browser would show other levels than those of the file.
_PNG_CHUNKS_THAT_CHANGE = (b"gAMA", b"cHRM", b"iCCP", b"cICP", b"eXIf", b"tRNS", b"acTL")
_PNG_GREY, _PNG_RGB = 0, 2


@dataclass(frozen=True)
class ServedImage:
    """An image as it is sent to the browser."""

    data: bytes
    media_type: str
    etag: str


def path_within(folder: Path, relative: str) -> Path | None:
    """The file of a recorded path, with links followed; None if it is outside the folder."""
    try:
        path = (folder / relative).resolve()
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):
        return None


class ImageCache:
    """Reads each image once and caches its converted form. Safe for several threads.

    The lock guards the two tables only. Hashing and converting run outside of it, so two threads may convert the same
    file at once; the second result is not cached.
    """

    def __init__(self, cache_bytes: int = _CACHE_BYTES) -> None:
        self._bound = cache_bytes
        self._held = 0
        self._served: OrderedDict[str, ServedImage] = OrderedDict()
        self._digests: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def digest(self, path: Path) -> str | None:
        """Hex SHA-256 of a file, read again when its time or size has changed; None if it does not exist."""
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
        """State of a file (from `path_within`) since its hash was recorded; the hash "" matches any file."""
        if path is None:
            return "outside"
        now = self.digest(path)
        return "missing" if now is None else "ok" if sha256 in ("", now) else "changed"

    def full(self, path: Path) -> ServedImage | None:
        """The image at full size, 8 bit and upright; None if the file does not exist.

        Raises:
            SourceError: not an image that can be read.
        """
        return self._converted("full", path, _full_size)

    def thumb(self, path: Path) -> ServedImage | None:
        """The image reduced to `THUMB_PX`; a smaller one keeps its pixels. None if the file does not exist.

        Raises:
            SourceError: not an image that can be read.
        """
        return self._converted("thumb", path, _thumbnail)

    def _converted(self, kind: str, path: Path, convert: Callable[[Path], tuple[bytes, str]]) -> ServedImage | None:
        digest = self.digest(path)
        if digest is None:
            return None
        etag = f"{kind}-{digest}"
        with self._lock:
            if etag in self._served:
                self._served.move_to_end(etag)
                return self._served[etag]
        served = ServedImage(*convert(path), etag)
        with self._lock:
            if etag not in self._served and len(served.data) <= self._bound:
                self._served[etag] = served
                self._held += len(served.data)
                while self._held > self._bound:
                    self._held -= len(self._served.popitem(last=False)[1].data)
        return served


def _full_size(path: Path) -> tuple[bytes, str]:
    data = path.read_bytes()
    if not _is_plain_png(data):
        buffer = io.BytesIO()
        _for_browser(read_photo(path)).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
        data = buffer.getvalue()
    return data, "image/png"


def _thumbnail(path: Path) -> tuple[bytes, str]:
    image = _for_browser(read_photo(path))
    if max(image.size) <= THUMB_PX:
        return to_png(image), "image/png"
    image.thumbnail((THUMB_PX, THUMB_PX), Image.Resampling.BOX, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue(), "image/jpeg"


def _for_browser(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" and not image.has_transparency_data else to_rgb(image)


def _is_plain_png(data: bytes) -> bool:
    """Whether a browser shows the file's own levels: 8-bit grey or RGB without chunks about colour."""
    if data[:8] != _PNG_MAGIC or len(data) < 26 or data[24] != 8 or data[25] not in (_PNG_GREY, _PNG_RGB):
        return False
    head = data[: data.find(b"IDAT")]
    return not any(chunk in head for chunk in _PNG_CHUNKS_THAT_CHANGE)
