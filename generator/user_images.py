"""The user's own images, as both kinds of training read them."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdcore.files import sha256_of
from sdcore.images.decode import opened_image, to_rgb

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
        UnreadableImage: it cannot be read, or is so large that Pillow takes it for a decompression bomb.
    """
    with opened_image(path, advice="remove it, 'trainer check' lists all such files") as image:
        rgb = to_rgb(image)
        generated_by = next((words for key, words in _GENERATED_KEYWORDS.items() if key in image.info), None)
        return UserImage(rgb, sha256_of(path), generated_by)
