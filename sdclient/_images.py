"""Image bytes <-> base64 <-> PIL, and the format by its magic bytes; nothing else."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from PIL import Image, UnidentifiedImageError
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sdcore.images.decode import image_format

from .errors import BadImage

ImageInput: TypeAlias = Image.Image | Path | str | bytes
"""What a user may hand over as an image: a PIL image, a path (also as text), or an image file's bytes."""

_BASE64 = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))
"""Decodes base64 four times as fast as Python's own module does."""

LOSSLESS_FORMATS = frozenset({"PNG", "BMP", "TIFF"})


def to_bytes(image: ImageInput) -> bytes:
    """The image as an image file's bytes; files and bytes pass through unchanged, PIL images become PNG.

    Raises:
        BadImage: the file cannot be read, or the bytes are not an image.
    """
    if isinstance(image, Image.Image):
        return encode_png(image)
    if isinstance(image, bytes):
        data, name = image, "the bytes given as an image"
    else:
        path = Path(image)
        try:
            data, name = path.read_bytes(), str(path)
        except OSError as error:
            raise BadImage(f"{path}: cannot be read as an image: {error.strerror or error}") from error
    if image_format(data) is None:
        raise BadImage(f"{name}: not an image (PNG, JPEG, WebP, BMP, TIFF or GIF expected)")
    return data


def to_base64(data: bytes) -> str:
    """The bytes as the WebUI wants them: bare base64."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Bytes of an image as the WebUI sends it: bare base64 or a `data:` URL.

    Raises:
        BadImage: not base64.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        if len(text) % 4 == 0:  # it would do without padding
            with suppress(ValidationError):
                return _BASE64.validate_strings(text)
        return base64.b64decode(text, validate=True)  # says what is wrong
    except (binascii.Error, ValueError) as error:
        raise BadImage(f"an image in the reply is not base64: {error}") from error


def encode_png(image: Image.Image, *, level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """The image as PNG bytes, without metadata.

    Args:
        image: what to encode.
        level: of zlib: 1 is quick, 9 is small.
        strategy: of zlib: `zlib.Z_RLE` looks for no repetition but of the last byte.
    """
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=level, compress_type=strategy)
    return buffer.getvalue()


def decode(data: bytes, name: str = "an image") -> Image.Image:
    """Decode an image completely.

    Args:
        data: an image file's bytes.
        name: what to call it in an error.

    Raises:
        BadImage: not an image, truncated, or so large that it looks like a decompression bomb.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
            image.load()
    except UnidentifiedImageError as error:
        raise BadImage(f"{name}: not an image that can be read") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadImage(f"{name}: far too many pixels to be a photograph: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage(f"{name}: damaged image: {error}") from error
    return image
