"""What a user hands over as an image: to bytes, to PNG, and decoded, with the client's own errors."""

import io
import warnings
import zlib
from pathlib import Path
from typing import TypeAlias

from PIL import Image, UnidentifiedImageError

from sdcore.images.decode import image_format

from .errors import BadImage

ImageInput: TypeAlias = Image.Image | Path | str | bytes
"""What a user may hand over as an image: a PIL image, a path (also as text), or an image file's bytes."""


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
