"""The one decoder: an image of any mode -> upright, 8-bit RGB or grey. Pillow alone.

All packages decode here, so that a source image, the images generated from it and the images that a classifier learns
from have the same grey levels.
"""

import math

from PIL import Image, ImageOps
from PIL.ExifTags import Base

_CAMERA_BITS = (8, 10, 12, 14, 16)


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"GIF8", "GIF"),
)


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
