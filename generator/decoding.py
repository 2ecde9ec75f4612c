"""An image file -> the pixels that training sees, and what is known of where they come from."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sdcore.images.decode import to_rgb

from .errors import DataError

_GENERATED_KEYWORDS = {
    "sdclient": "the lineage that 'sdclient generate' writes",
    "parameters": "the parameters that a WebUI writes",
}
"""PNG text chunks that only generated pictures carry."""
_LONGEST_SHAPE = 8
"""A picture longer than this many times its width is cut to it about its middle."""


@dataclass(frozen=True, eq=False)
class Upright:
    """One picture as it is shown."""

    picture: Image.Image
    """RGB."""
    sha256: str
    """Of the file's bytes."""
    generated_by: str | None
    """Why it counts as generated, in words; None for a picture that does not."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """One picture, its shorter side brought to the size asked."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3)."""
    is_grey: bool
    """Whether all three channels are equal everywhere."""
    sha256: str
    """Of the file's bytes."""
    generated_by: str | None
    """Why it counts as generated, in words; None for a picture that does not."""


def decode(path: Path, size_px: int) -> Decoded:
    """Read a picture as `read_upright` does, and bring its shorter side to `size_px`.

    Raises:
        DataError: it cannot be read.
    """
    read = read_upright(path)
    pixels = np.asarray(_scaled(read.picture, size_px))
    is_grey = bool((pixels[..., :1] == pixels).all())
    return Decoded(pixels, is_grey, read.sha256, read.generated_by)


def read_upright(path: Path) -> Upright:
    """Read a picture upright, in RGB, transparency on white, deep grey brought to 8 bits.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content))
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path}: cannot be read as a picture ({error}); remove it, 'trainer check' lists all such files"
        ) from error
    told = next((words for key, words in _GENERATED_KEYWORDS.items() if key in picture.info), None)
    return Upright(to_rgb(picture), hashlib.sha256(content).hexdigest(), told)


def _scaled(picture: Image.Image, size_px: int) -> Image.Image:
    longest = _LONGEST_SHAPE * min(picture.size)
    if max(picture.size) > longest:
        picture = ImageOps.fit(picture, (min(picture.width, longest), min(picture.height, longest)))
    factor = size_px / min(picture.size)
    size = (max(size_px, round(picture.width * factor)), max(size_px, round(picture.height * factor)))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
