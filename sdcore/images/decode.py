"""The one reader of image files, and the one decoder: an image of any mode -> upright, 8-bit RGB or grey. Pillow alone.

All packages read and decode here, so that a source image, the images generated from it and the images that a classifier
learns from have the same grey levels, and a damaged file has the same reason everywhere.
"""

import io
import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, TypeAlias

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base

from ..errors import UnreadableImage
from ..files import printable

ImageInput: TypeAlias = Image.Image | Path | str | bytes
"""What a user may hand over as an image: a PIL image, a path (also as text), or an image file's bytes."""

LOSSLESS_FORMATS = frozenset({"PNG", "BMP", "TIFF"})
# Named, because Pillow would also take documents for images (for EPS it starts another program). JPEG includes MPO.
_READ_FORMATS = (
    "PNG",
    "JPEG",
    "BMP",
    "DIB",
    "TIFF",
    "WEBP",
    "GIF",
    *(["AVIF"] if find_spec("PIL.AvifImagePlugin") else []),
)
_SIGNS_OF_TRUNCATION = ("truncated", "not enough image data", "unexpected end", "incomplete")
_CAMERA_BITS = (8, 10, 12, 14, 16)
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"GIF8", "GIF"),
)


@contextmanager
def opened_image(
    source: Path | bytes | BinaryIO,
    name: str | None = None,
    *,
    refuse_huge: bool = True,
    advice: str = "remove or replace it",
) -> Iterator[Image.Image]:
    """The opened image of a path, a file's bytes or an open file; only its header has been read.

    An exception in the body of the `with` counts as a fault of the file: it may be damaged further on, or too large to
    convert. Odd metadata is no fault. An image with so many pixels that Pillow warns of a decompression bomb is
    refused; with `refuse_huge=False` only one with twice as many. Errors call the file `name` and end in `advice`.

    Raises:
        UnreadableImage: missing, not an image, damaged, or too many pixels.
    """
    name = name or (printable(source) if isinstance(source, Path) else "the image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if refuse_huge:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Bytes are not closed, because Pillow reads the metadata of TIFF late.
            content = io.BytesIO(source) if isinstance(source, bytes) else source
            with content.open("rb") if isinstance(content, Path) else nullcontext(content) as file:
                yield Image.open(file, formats=_READ_FORMATS)
    except UnreadableImage:
        raise
    # A damaged file makes the decoders raise nearly anything: SyntaxError, struct.error, zlib.error, IndexError...
    except Exception as error:
        if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
            most = (Image.MAX_IMAGE_PIXELS or 0) * (1 if refuse_huge else 2)
            reason = f"too many pixels for one image (more than {most})"
            advice = "cut it with 'sdclient crop'" if refuse_huge else "save it in several parts"
        elif isinstance(error, UnidentifiedImageError):
            is_empty = source.stat().st_size == 0 if isinstance(source, Path) else not source
            reason = "an empty file" if is_empty else "not an image"
            advice = f"expected PNG, JPEG, BMP, TIFF, WebP or GIF; {advice}"
        else:
            reason = _reason_of(error)
        raise UnreadableImage(f"{name}: {reason}; {advice}", reason) from error


def _reason_of(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot be read: {error.strerror or error}"
    words = str(error).strip() or type(error).__name__
    is_truncated = any(sign in words.lower() for sign in _SIGNS_OF_TRUNCATION)
    return f"{'truncated' if is_truncated else 'damaged'} image ({words})"


def read_image(data: bytes, name: str = "the image") -> Image.Image:
    """The image in a file's bytes, completely decoded, as it is stored.

    Raises:
        UnreadableImage: not an image, truncated, damaged, or so many pixels that it may be a decompression bomb.
    """
    with opened_image(data, name) as image:
        image.load()
        return image


def image_bytes(image: ImageInput) -> bytes:
    """The image as an image file's bytes; files and bytes pass through unchanged, PIL images become PNG.

    Raises:
        UnreadableImage: the file cannot be read, or does not begin like an image.
    """
    if isinstance(image, Image.Image):
        return to_png(image)
    if isinstance(image, bytes):
        data, name = image, "the bytes given as an image"
    else:
        name = str(Path(image))
        try:
            data = Path(image).read_bytes()
        except OSError as error:
            raise UnreadableImage(f"{name}: cannot be read as an image: {error.strerror or error}") from error
    if image_format(data) is None:
        raise UnreadableImage(f"{name}: not an image (PNG, JPEG, WebP, BMP, TIFF or GIF expected)")
    return data


def to_png(image: Image.Image, *, level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """The image as PNG bytes, without metadata; `zlib.Z_RLE` looks only for repetitions of the last byte."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=level, compress_type=strategy)
    return buffer.getvalue()


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as upright, 8-bit RGB.

    Deep grey is scaled by its camera's depth: 8, 10, 12, 14 or 16 bits, the smallest that holds the brightest pixel;
    float images within [0, 1] are scaled by 255, and what exceeds 16 bits by its brightest pixel. Transparency is
    flattened on white, as the WebUI does.

    Returns:
        The image itself where nothing has to change, so copy it before you draw on it.
    """
    image = _turn_upright(image)
    if _is_deep(image):
        return _deep_to_grey(image).convert("RGB")
    if image.has_transparency_data:
        # Pillow converts premultiplied grey only to grey with alpha.
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode != "RGB":
        return image.convert("RGB")
    # A lazily opened file must be read before its caller closes it.
    image.load()
    return image


def to_8_bit(image: Image.Image) -> Image.Image:
    """An image of any mode as upright, 8-bit "L" where it is grey, else "RGB"; its levels are those of `to_rgb`."""
    return to_rgb(image).convert("L" if is_grey(image) else "RGB")


def is_grey(image: Image.Image) -> bool:
    """Whether the image's mode, or its palette, holds no colour."""
    if image.mode in {"1", "L", "LA", "La"} or _is_deep(image):
        return True
    if image.mode in {"P", "PA"}:
        colours = image.convert("RGB").getcolors(256) or []
        return all(isinstance(colour, tuple) and len(set(colour)) == 1 for _, colour in colours)
    return False


def _turn_upright(image: Image.Image) -> Image.Image:
    # `exif_transpose` copies an image that needs no turn.
    return image if image.getexif().get(Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def _is_deep(image: Image.Image) -> bool:
    """Whether the mode is grey of more than 8 bits: "I", "I;16", "I;16B", ... or "F"."""
    return image.mode.startswith("I") or image.mode == "F"


def _deep_to_grey(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as "L"."""
    deep = image if image.mode == "F" else image.convert("I").convert("F")
    low, high = _finite_range(deep)
    if high <= 1.0 and image.mode == "F" and low >= 0.0:
        full = 1.0
    else:
        full = next((float(2**bits - 1) for bits in _CAMERA_BITS if high < 2**bits), max(high, 1.0))
    # "F" to "L" cuts off the fraction and clips to 0..255.
    return deep.point(lambda value: value * (255.0 / full) + 0.5).convert("L")


def _finite_range(image: Image.Image) -> tuple[float, float]:
    """Lowest and highest level of a one-band image; (0, 1) where one of them is not finite."""
    low, high = image.getextrema()
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        raise TypeError("one band expected")
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)


def image_format(data: bytes) -> str | None:
    """Name of the image format by its first bytes ("PNG", "JPEG", "WEBP", ...), or None when unknown."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return None
