"""Bytes, pixels, look and oddities of image files, each decoded once.

Every file is decoded once. Worker processes may share the reading; what comes back does not depend on their number.
"""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from sdcore.images.decode import to_rgb
from sdcore.images.folders import IMAGE_SUFFIXES, is_system_file
from sdcore.images.hashes import perceptual_hash, shrink_to_grey

from ..processes import map_files

GRID = 16
"""Cells a side of the coarse picture that a fingerprint keeps."""


def pixel_sha256(path: Path) -> str:
    """SHA-256 of the decoded, upright RGB pixels with their size; the same for one picture in PNG and BMP.

    Raises:
        Unusable: the file is no picture that can be read to its end.
    """
    with opened_picture(path) as (picture, _):
        return _hash_pixels(to_rgb(picture))


def _hash_pixels(pixels: Image.Image) -> str:
    return _hash_stream(iter([f"{pixels.width}x{pixels.height};".encode(), pixels.tobytes()]))


def _hash_stream(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


_READ_WHOLE = 64 << 20
"""Bytes; a file no larger is read once and by one call, where Pillow reads it in many pieces."""


class Unusable(Exception):
    """A file that cannot be trained on; the message is the reason."""


@contextmanager
def opened_picture(path: Path) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """The picture of a file, read to its end, and the file itself.

    What goes wrong in the body of the `with` counts as a fault of the file too: a picture may well be read and
    then be too large to convert.

    Raises:
        Unusable: the file cannot be trained on.
    """
    if is_system_file(path.name):
        raise Unusable("left behind by an operating system, not a picture; delete it")
    has_image_name = path.suffix.lower() in IMAGE_SUFFIXES
    try:
        size = path.stat().st_size
        if size == 0:
            raise Unusable("zero bytes")
        # Odd metadata and mere size are no faults; what matters raises.
        with warnings.catch_warnings(), path.open("rb") as stored:
            warnings.simplefilter("ignore")
            file: BinaryIO = BytesIO(stored.read()) if size <= _READ_WHOLE else stored
            with Image.open(file) as picture:
                if not has_image_name:
                    raise Unusable(f"a {picture.format} picture whose name does not end like one; rename it")
                picture.load()
                yield picture, file
    except Unusable:
        raise
    except FileNotFoundError as error:
        raise Unusable("a link to nothing" if path.is_symlink() else "gone while checking") from error
    except UnidentifiedImageError as error:
        raise Unusable("not an image, whatever its name says" if has_image_name else "not an image") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise Unusable(f"says to have more than {most} pixels: damaged, or a decompression bomb") from error
    except MemoryError as error:
        raise Unusable("too large for the memory of this machine") from error
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise Unusable(_words_of(error)) from error


def _words_of(error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    if isinstance(error, PermissionError):
        return "cannot be opened: permission denied"
    if any(sign in words.lower() for sign in ("truncated", "not enough image data", "unexpected end", "incomplete")):
        return f"truncated: {words}"
    return f"damaged: {words}"


@dataclass(frozen=True)
class Fingerprint:
    """What is known of one file after reading it once."""

    path: Path
    error: str | None = None
    """Why it cannot be trained on; then all below is empty."""
    sha256: str = ""
    """Of the file's bytes."""
    pixel_sha256: str = ""
    """Of the upright RGB pixels and their size."""
    perceptual_hash: int = 0
    """64 bits; see `sdcore.images.hashes.perceptual_hash`."""
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels, upright."""
    mode: str = ""
    """Pillow's word for the pixels as stored."""
    format: str = ""
    """Pillow's word for the content, such as JPEG."""
    oddities: tuple[str, ...] = ()
    """Keys of `trainer.data.fingerprints.ODDITIES`."""
    contrast: float = 0.0
    """Standard deviation of the grey levels at 32 x 32, in [0, 127.5]; near 0 the perceptual hash means nothing."""
    grid: bytes = b""
    """16 x 16 RGB means, row by row, uint8."""


def fingerprint(path: Path) -> Fingerprint:
    """Read one file; what cannot be used has its reason in `error`."""
    try:
        with opened_picture(path) as (picture, file):
            oddities = find_peculiarities(picture, path.suffix)
            mode, kind = picture.mode, picture.format or ""
            pixels = to_rgb(picture)
            grey = shrink_to_grey(pixels)
            grid = pixels.resize((GRID, GRID), Image.Resampling.BOX).tobytes()
            file.seek(0)
            return Fingerprint(
                path,
                sha256=_hash_stream(iter(lambda: file.read(1 << 20), b"")),
                pixel_sha256=_hash_pixels(pixels),
                perceptual_hash=perceptual_hash(grey),
                size=pixels.size,
                mode=mode,
                format=kind,
                oddities=oddities,
                contrast=float(grey.std()),
                grid=grid,
            )
    except Unusable as why:
        return Fingerprint(path, error=str(why))


def fingerprint_files(
    paths: Sequence[Path], *, workers: int = 0, progress: bool = False, label: str = "read"
) -> list[Fingerprint]:
    """Read every file; one fingerprint a file, in the order of `paths`, whatever the number of workers.

    Args:
        paths: files of any kind.
        workers: processes that share the reading. 0 reads in this process, which is quickest for few files;
            with 1 or more a file that crashes its process, or that the system kills for its hunger, is one file
            with an error.
        progress: show a bar on stderr.
        label: what the bar is called.
    """
    results = map_files(fingerprint, paths, workers=workers, progress=progress, label=label)
    return [
        result if isinstance(result, Fingerprint) else Fingerprint(path, error=result.reason)
        for path, result in zip(paths, results, strict=True)
    ]


_SUFFIXES_OF = {
    "PNG": frozenset({".png"}),
    "JPEG": frozenset({".jpg", ".jpeg"}),
    "MPO": frozenset({".jpg", ".jpeg"}),  # a JPEG with a second picture behind it, as telephones write them
    "BMP": frozenset({".bmp"}),
    "DIB": frozenset({".bmp"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "WEBP": frozenset({".webp"}),
}
"""The suffixes by which other programs know a content."""

ODDITIES = {
    "disguised": "the name says another format than the content has; programs that go by the name refuse the file",
    "huge": "so many pixels that Pillow warns of a decompression bomb",
    "deep": "more than 8 bits a channel; training sees 8",
    "cmyk": "colours of print; the way to RGB is a guess",
    "palette": "a colour table; other programs may read its numbers as grey levels",
    "alpha": "transparent; training lays it on white, other programs on black",
    "frames": "several frames; only the first is used",
    "turned": "upright only by its EXIF note, which other programs may not heed",
}
"""Kinds of pictures that can be read to their end and still surprise."""


def reason_unusable(path: Path) -> str | None:
    """Why a file cannot be trained on, in words; None for a picture that can be read to its end."""
    try:
        with opened_picture(path):
            return None
    except Unusable as why:
        return str(why)


def find_peculiarities(picture: Image.Image, suffix: str) -> tuple[str, ...]:
    """The keys of `ODDITIES` that a picture has, in their order.

    Args:
        picture: as opened; its mode and notes tell.
        suffix: of its file's name, with the dot.
    """
    mode = picture.mode
    limit = Image.MAX_IMAGE_PIXELS
    has = {
        "disguised": suffix.lower() not in _SUFFIXES_OF.get(picture.format or "", frozenset()),
        "huge": limit is not None and picture.width * picture.height > limit,
        "deep": mode.startswith("I") or mode == "F",
        "cmyk": mode == "CMYK",
        "palette": mode in ("P", "PA"),
        "alpha": mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info,
        "frames": getattr(picture, "n_frames", 1) > 1,
        "turned": picture.getexif().get(Base.Orientation, 1) in range(2, 9),
    }
    return tuple(kind for kind in ODDITIES if has[kind])
