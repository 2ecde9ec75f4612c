"""A decoded picture -> upright RGB, as training sees it."""

from __future__ import annotations

from PIL import Image, ImageOps
from PIL.ExifTags import Base


def upright_rgb(picture: Image.Image) -> Image.Image:
    """The picture in mode RGB, turned as its camera noted.

    Grey is repeated over the channels, 16 bits are brought to 8 (the high byte, when any pixel is above 255), and
    transparency lies on white. What is so already is given back itself, not a copy.
    """
    if picture.getexif().get(Base.Orientation, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        picture = _in_eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    if picture.mode != "RGB":
        return picture.convert("RGB")
    picture.load()
    return picture


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow clips 16 bits at 255 where it should scale them."""
    import numpy as np

    deep = np.asarray(picture).astype(np.int64)
    return Image.fromarray((deep >> 8 if deep.max(initial=0) > 255 else deep).clip(0, 255).astype(np.uint8))
