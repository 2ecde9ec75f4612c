"""Image files in folders: which files count, their order, whether they can be read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from sdcore.files import printable

from .errors import OutputError, SourceError

# Named, because Pillow would also take documents (EPS starts another program) for images.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
_ORIENTATION_TAG = 0x0112
_TURNED = frozenset({5, 6, 7, 8})


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of the upright picture, from the file's header alone.

    Raises:
        SourceError: not an image that can be read, or too many pixels; the message names the file.
    """
    with _in_words(path, refuse_huge=True), Image.open(path, formats=_FORMATS) as image:
        return upright_size(image)


def huge_image_size(path: Path) -> tuple[int, int]:
    """As `image_size`, for photographs that are going to be cut and so may be very large.

    Raises:
        SourceError: not an image that can be read, or too many pixels to be opened at all.
    """
    with _in_words(path, refuse_huge=False), Image.open(path, formats=_FORMATS) as image:
        return upright_size(image)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) in px of an image as it is shown, which need not be decoded."""
    width, height = image.size
    # The base class's own method, because the one for PNG decodes the whole picture to look behind it.
    turned = Image.Image.getexif(image).get(_ORIENTATION_TAG) in _TURNED
    return (height, width) if turned else (width, height)


def read_photo(path: Path, *, refuse_huge: bool = True) -> Image.Image:
    """Decode an image to its last pixel, turned upright as its EXIF data says.

    Args:
        path: the image file.
        refuse_huge: refuse more pixels than any source image needs.

    Raises:
        SourceError: unreadable, truncated, or too many pixels; the message names the file.
    """
    with _in_words(path, refuse_huge=refuse_huge), Image.open(path, formats=_FORMATS) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def size_in(data: bytes, name: str) -> tuple[int, int]:
    """As `image_size`, from a file's bytes.

    Args:
        data: the whole file.
        name: what the file is called in an error.

    Raises:
        SourceError: as `image_size`.
    """
    with _in_words(name, refuse_huge=True), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        return upright_size(image)


def decode_photo(data: bytes, name: str) -> Image.Image:
    """As `read_photo`, from a file's bytes.

    Args:
        data: the whole file.
        name: what the file is called in an error.

    Raises:
        SourceError: as `read_photo`.
    """
    with _in_words(name, refuse_huge=True), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def check_destination(source: Path, destination: Path) -> None:
    """Refuse a destination folder that is a file, or that lies within its source or around it.

    Raises:
        OutputError: the two overlap, or the destination is no folder.
    """
    if destination.exists() and not destination.is_dir():
        raise OutputError(f"{printable(destination)}: is a file, a folder was expected; choose another name")
    inner, outer = destination.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise OutputError(
            f"{printable(destination)}: overlaps {printable(source)}, whose files must stay untouched; "
            "choose a folder beside it"
        )


@contextmanager
def _in_words(path: Path | str, *, refuse_huge: bool) -> Iterator[None]:
    """Say in one line what is wrong with an image file."""
    name = printable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if refuse_huge:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        advice = "cut it with 'sdclient crop'" if refuse_huge else "save it in several parts"
        raise SourceError(f"{name}: too many pixels for one image; {advice}") from error
    except UnidentifiedImageError as error:
        is_empty = isinstance(path, Path) and path.stat().st_size == 0
        what = "an empty file" if is_empty else "not an image"
        raise SourceError(f"{name}: {what}; expected PNG, JPEG, BMP, TIFF or WebP; remove or replace it") from error
    except OSError as error:
        if error.filename is not None:
            raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error
        raise SourceError(f"{name}: damaged or truncated image ({error}); remove or replace it") from error
    # A damaged file makes the decoders raise nearly anything: SyntaxError, struct.error, zlib.error, IndexError...
    except Exception as error:
        raise SourceError(f"{name}: damaged image ({error}); remove or replace it") from error
