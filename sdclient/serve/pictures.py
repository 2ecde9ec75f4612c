"""Images of a request (base64) to pixels, and pixels to the images of a reply."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import HTTPException
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_FAST_PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""More than twice as fast as the usual level 6; as small where there is grain, a third larger where there is none."""
_DATA_URL = "data:image/"
_REMOTE = ("http://", "https://")


def decode_request_image(text: str) -> Image.Image:
    """The image behind base64 text or a `data:image/` URL, upright as its EXIF says.

    Addresses are refused: this server fetches nothing.

    Raises:
        HTTPException: 500 with the WebUI's words when there is no image in the text.
        IndexError: a `data:image/` URL without its parts, as in the WebUI.
        OSError: a truncated image.
    """
    if text.startswith(_REMOTE):
        raise HTTPException(500, "Request to local resource not allowed")
    if text.startswith(_DATA_URL):
        text = text.split(";")[1].split(",")[1]
    try:
        data = base64.b64decode(text + "=" * (-len("".join(text.split())) % 4))
        image = Image.open(io.BytesIO(data))
    except Exception as error:
        raise HTTPException(500, "Invalid encoded image") from error
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise OSError("image file is truncated") from error
    return ImageOps.exif_transpose(image)


def to_rgb(image: Image.Image, background: str) -> Image.Image:
    """The image as 8-bit RGB: transparency shows the background, 16-bit values are cut off at 255.

    Args:
        image: any mode.
        background: colour like "#ffffff".
    """
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(np.clip(np.asarray(image), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        flat = Image.new("RGBA", layer.size, background)
        flat.alpha_composite(layer)
        return flat.convert("RGB")
    return image.convert("RGB")


def encode_image(
    image: Image.Image, infotext: str, settings: Mapping[str, Any], *, extra_texts: Mapping[str, str] | None = None
) -> str:
    """The image as base64 in the format of the option `samples_format`, its infotext inside.

    Args:
        image: what to send.
        infotext: "" for none.
        settings: the options in force, by name.
        extra_texts: further texts by keyword, for PNG only.

    Raises:
        HTTPException: 500, a format the WebUI cannot send.
    """
    text = infotext if settings["enable_pnginfo"] else ""
    kind = str(settings["samples_format"]).lower()
    buffer = io.BytesIO()
    if kind == "png":
        chunks = PngInfo()
        if text:
            chunks.add_text("parameters", text)
        for keyword, words in (extra_texts or {}).items():
            chunks.add_text(keyword, words)
        image.save(buffer, "PNG", pnginfo=chunks, **_FAST_PNG)
    elif kind in ("jpg", "jpeg"):
        image.save(buffer, "JPEG", quality=settings["jpeg_quality"], exif=_user_comment(text))
    elif kind == "webp":
        lossless = bool(settings["webp_lossless"])
        image.save(buffer, "WEBP", quality=settings["jpeg_quality"], lossless=lossless, exif=_user_comment(text))
    else:
        raise HTTPException(500, "Invalid image format")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _user_comment(text: str) -> bytes:
    """EXIF with the text as a big-endian Unicode UserComment, as the WebUI writes it."""
    exif = Image.Exif()
    exif.endian = ">"
    if text:
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()
