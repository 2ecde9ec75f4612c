"""The user's own images, as both kinds of training read them."""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdcore.images.decode import to_rgb

from .errors import DataError

_GENERATED_KEYWORDS = {
    "sdclient": "the lineage that 'sdclient generate' writes",
    "parameters": "the parameters that a WebUI writes",
}
"""PNG text chunks that only generated images carry."""


@dataclass(frozen=True, eq=False)
class UserImage:
    """One image file."""

    image: Image.Image
    """Upright, RGB."""
    sha256: str
    """Of the file's bytes."""
    generated_by: str | None
    """Why it counts as generated, in words; None for an image that does not."""


def read_user_image(path: Path) -> UserImage:
    """Read an image as `sdcore.images.decode.to_rgb` decodes it, and look for the marks of a generated one.

    Raises:
        DataError: it cannot be read, or is so large that Pillow takes it for a decompression bomb.
    """
    try:
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path}: cannot be read as an image ({error}); remove it, 'trainer check' lists all such files"
        ) from error
    generated_by = next((words for key, words in _GENERATED_KEYWORDS.items() if key in image.info), None)
    return UserImage(to_rgb(image), hashlib.sha256(content).hexdigest(), generated_by)
