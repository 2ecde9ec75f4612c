"""Bytes, pixels, look and oddities of image files; each file is read and decoded once."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.ExifTags import Base

from sdcore.errors import UnreadableImage
from sdcore.files import printable
from sdcore.images.decode import opened_image, to_rgb
from sdcore.images.folders import IMAGE_SUFFIXES, is_system_file
from sdcore.images.hashes import perceptual_hash, shrink_to_grey

from ..processes import map_files

GRID = 16
"""Cells a side of the coarse image that a fingerprint keeps."""

_READ_WHOLE = 64 << 20
"""Bytes; a file no larger is read once and by one call, where Pillow reads it in many pieces."""


@contextmanager
def opened_image_file(path: Path) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """The image of a file, completely decoded, and the file itself; see `sdcore.images.decode.opened_image`.

    Raises:
        UnreadableImage: the file cannot be trained on.
    """
    if is_system_file(path.name):
        raise UnreadableImage("left behind by an operating system, not an image; delete it")
    try:
        size = path.stat().st_size
        if size == 0:
            raise UnreadableImage("zero bytes")
        with path.open("rb") as stored:
            file: BinaryIO = BytesIO(stored.read()) if size <= _READ_WHOLE else stored
            with opened_image(file, printable(path), refuse_huge=False) as image:
                if path.suffix.lower() not in IMAGE_SUFFIXES:
                    raise UnreadableImage(f"a {image.format} image whose name does not end like one; rename it")
                image.load()
                yield image, file
    except FileNotFoundError as error:
        raise UnreadableImage("a link to nothing" if path.is_symlink() else "gone while checking") from error
    except OSError as error:
        raise UnreadableImage(f"cannot be opened: {error.strerror or error}") from error


@dataclass(frozen=True)
class Fingerprint:
    """What reading one file once tells about it."""

    path: Path
    error: str | None = None
    """Why it cannot be trained on; then all further fields are empty."""
    sha256: str = ""
    """Of the file's bytes."""
    pixel_sha256: str = ""
    """Of the upright RGB pixels and their size."""
    perceptual_hash: int = 0
    """64 bits; see `sdcore.images.hashes.perceptual_hash`."""
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels, upright."""
    mode: str = ""
    """Pillow's name for the kind of pixels, as stored."""
    format: str = ""
    """Pillow's name for the file format, such as JPEG."""
    oddities: tuple[str, ...] = ()
    """Keys of `ODDITIES`."""
    contrast: float = 0.0
    """Standard deviation of the grey levels at 32 x 32, in [0, 127.5]; near 0 the perceptual hash means nothing."""
    grid: bytes = b""
    """16 x 16 RGB means, row by row, uint8."""


def fingerprint(path: Path) -> Fingerprint:
    """Read one file; what cannot be used has its reason in `error`."""
    try:
        with opened_image_file(path) as (image, file):
            oddities = find_oddities(image, path.suffix)
            mode, kind = image.mode, image.format or ""
            pixels = to_rgb(image)
            grey = shrink_to_grey(pixels)
            grid = pixels.resize((GRID, GRID), Image.Resampling.BOX).tobytes()
            file.seek(0)
            return Fingerprint(
                path,
                sha256=_hash(iter(lambda: file.read(1 << 20), b"")),
                pixel_sha256=_hash([f"{pixels.width}x{pixels.height};".encode(), pixels.tobytes()]),
                perceptual_hash=perceptual_hash(grey),
                size=pixels.size,
                mode=mode,
                format=kind,
                oddities=oddities,
                contrast=float(grey.std()),
                grid=grid,
            )
    except UnreadableImage as error:
        return Fingerprint(path, error=error.reason)


def _hash(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def fingerprint_files(
    paths: Sequence[Path], *, workers: int = 0, progress: bool = False, label: str = "read"
) -> list[Fingerprint]:
    """Read every file; one fingerprint a file, in the order of `paths`, whatever the number of workers.

    0 workers read in this process, which is quickest for few files. With 1 or more processes, a file that crashes its
    process, or for which the system kills it since it needs too much memory, is one file with an error.
    """
    results = map_files(fingerprint, paths, workers=workers, progress=progress, label=label)
    return [
        result if isinstance(result, Fingerprint) else Fingerprint(path, error=result.reason)
        for path, result in zip(paths, results, strict=True)
    ]


_SUFFIXES_OF = {
    "PNG": frozenset({".png"}),
    "JPEG": frozenset({".jpg", ".jpeg"}),
    "MPO": frozenset({".jpg", ".jpeg"}),  # a JPEG with a second image behind it, as telephones write them
    "BMP": frozenset({".bmp"}),
    "DIB": frozenset({".bmp"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "WEBP": frozenset({".webp"}),
}
"""The suffixes by which other programs recognise a format."""

ODDITIES = {
    "disguised": "the name says another format than the content has; programs that go by the name refuse the file",
    "huge": "so many pixels that Pillow warns of a decompression bomb",
    "deep": "more than 8 bits a channel; training sees 8",
    "cmyk": "colours of print; the way to RGB is a guess",
    "palette": "a colour table; other programs may read its numbers as grey levels",
    "alpha": "transparent; training lays it on white, other programs on black",
    "frames": "several frames; only the first is used",
    "turned": "upright only by its EXIF note, which other programs may ignore",
}
"""What may surprise in an image that can be read to its end."""


def find_oddities(image: Image.Image, suffix: str) -> tuple[str, ...]:
    """The keys of `ODDITIES`, in their order, that an image has as opened from a file with this suffix."""
    mode = image.mode
    limit = Image.MAX_IMAGE_PIXELS
    has = {
        "disguised": suffix.lower() not in _SUFFIXES_OF.get(image.format or "", frozenset()),
        "huge": limit is not None and image.width * image.height > limit,
        "deep": mode.startswith("I") or mode == "F",
        "cmyk": mode == "CMYK",
        "palette": mode in ("P", "PA"),
        "alpha": mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info,
        "frames": getattr(image, "n_frames", 1) > 1,
        "turned": image.getexif().get(Base.Orientation, 1) in range(2, 9),
    }
    return tuple(kind for kind in ODDITIES if has[kind])
